// What every code system and value set of ours says about itself.
RuleSet: Codes
* ^status = #active
* ^experimental = false
* ^caseSensitive = true

RuleSet: Choice
* ^status = #active
* ^experimental = false
