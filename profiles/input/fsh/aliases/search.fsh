RuleSet: OwnSearch(type, code, searchType)
* version = "0.1.0"
* status = #active
* experimental = false
* base[0] = #{type}
* code = #{code}
* type = #{searchType}
* xpathUsage = #normal
