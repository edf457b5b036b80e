ValueSet: AgencyCodes
Id: agency
Title: "Who leads"
Description: "Who takes the lead in a task or a goal, so that the distribution of power can be seen."
* insert Choice
* include codes from system Agency
