Extension: OriginExtension
Id: origin
Title: "Taken from"
Description: "The record at an EHR that this element of a merged resource was taken from. Where it is absent, the element is of the record in meta.source."
Context: Element
* value[x] 1..1
* value[x] only uri
* value[x] ^short = "Address of the record at its EHR"
