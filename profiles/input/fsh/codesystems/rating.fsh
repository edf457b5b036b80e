CodeSystem: Rating
Id: rating
Title: "Answer to a statement"
Description: "How far a person agrees with a statement about how they were met."
* insert Codes
* #not-at-all "Not at all" "The opposite was the case."
* #a-little "A little" "Now and then."
* #half "Half and half" "Sometimes yes, sometimes no."
* #mostly "Mostly" "With exceptions."
* #completely "Completely" "Always."
* #does-not-apply "Does not apply" "It did not come up."
