ValueSet: VisibilityCodes
Id: visibility
Title: "Who shall not see it"
Description: "Security labels that keep a resource out of some scopes until a person releases it."
* insert Choice
* include codes from system Visibility
