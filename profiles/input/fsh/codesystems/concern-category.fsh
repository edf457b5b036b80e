CodeSystem: ConcernCategory
Id: concern-category
Title: "Category of a concern"
Description: "What kind of trouble a person has put on their own list; R4's condition categories have none for it."
* insert Codes
* #health-concern "Health concern" "Something about body or mind that troubles the person, in their own words."
* #everyday-life "Everyday life" "Work, home, money, family: something that health makes difficult, or that makes health difficult."
* #fear "Fear" "Something that the person is afraid of, such as an examination."
