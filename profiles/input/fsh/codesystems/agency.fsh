CodeSystem: Agency
Id: agency
Title: "Who leads"
Description: "Who takes the lead in a task or a goal, so that the distribution of power can be seen."
* insert Codes
* #patient-led "Led by the patient" "The patient, or somebody who acts for them, takes the initiative and decides."
* #shared "Shared" "Patient and professional lead together."
* #professional-led "Led by a professional" "A professional takes the initiative and decides."
