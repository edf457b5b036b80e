Instance: exercise-sheet
InstanceOf: WrittenInformation
Usage: #example
Title: "Exercises after the operation"
* status = #current
* docStatus = #final
* type = DocumentKind#instructions
* subject = Reference(amina)
* date = "2026-03-02T14:30:00+01:00"
* author = Reference(omar-nyberg-role)
* description = "What to do each day for the first six weeks"
* content.attachment.contentType = #text/plain
* content.attachment.language = #ar
* content.attachment.title = "Exercises after the operation"
* content.attachment.data = "2KfZhdi02Yog2YPZhCDZitmI2YUg2YLZhNmK2YTYp9mLLiDZhNinINiq2LHZgdi52Yog2KPYtNmK2KfYoSDYq9mC2YrZhNipINmE2YXYr9ipINiz2KrYqSDYo9iz2KfYqNmK2LkuINil2LDYpyDYs9in2KHYqiDYp9mE2K3Yp9mE2Kkg2YHYp9iq2LXZhNmKINio2LPYp9ix2Kku"
* context.related = Reference(lisa-shows-exercises)
