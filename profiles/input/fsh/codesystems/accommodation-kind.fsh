CodeSystem: AccommodationKind
Id: accommodation-kind
Title: "What a person needs in order to come through a visit"
Description: "Special needs that the receiving department should know and meet."
* insert Codes
* #extra-time "Extra time" "The visit is booked longer than usual."
* #fear-of-examination "Afraid of the examination" "Somebody explains each step, and the person may stop."
* #interpreter "Interpreter" "An interpreter, booked by the department."
* #companion "Companion" "Somebody the person chose may be there all the time."
* #quiet-place "Quiet place" "A calm room and no waiting among many."
* #same-people "The same people" "The person meets staff they already know."
* #staff-gender "Gender of staff" "Care by staff of the gender that the person asks for."
* #physical-access "Physical access" "Help to get there, in, or onto the table."
* #transport "Transport" "A ride, or a time that fits one."
* #plain-words "Plain words" "Slow, plain speech, and something written to take home."
* #time-of-day "Time of day" "A time that fits work, school or care of others."
