RuleSet: OwnSearch(type, code, searchType, expression)
* status = #active
* experimental = false
* base[0] = #{type}
* code = #{code}
* type = #{searchType}
* expression = "{expression}"

Instance: communication-about
InstanceOf: SearchParameter
Usage: #definition
* insert OwnSearch(Communication, about, reference, Communication.about)
* url = "https://fhir-coprod.org/ig/SearchParameter/communication-about"
* name = "CommunicationAbout"
* description = "What a communication is about. R4 has no such parameter; the referral watch asks whether the patient was told about a referral."
* xpathUsage = #normal
