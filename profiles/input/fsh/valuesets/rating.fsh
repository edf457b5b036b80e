ValueSet: RatingCodes
Id: rating
Title: "Answer to a statement"
Description: "How far a person agrees with a statement about how they were met."
* insert Choice
* include codes from system Rating
