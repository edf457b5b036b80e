"""Searches for two servers at once: each type of parameter, its modifiers and prefixes, alone and combined.

The same seed gives the same searches. Values come from the pools that the records are made of, and some from
nowhere, so that most searches find something and some nothing.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import quote, urlencode

from tests.api import twin_records as pool

PREFIXES = ("", "eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap")

TOKENS: dict[str, dict[str, tuple[str, ...]]] = {
    "Patient": {
        "gender": ("male", "female", "http://hl7.org/fhir/administrative-gender|other"),
        "active": ("true", "false"),
        "identifier": (
            "urn:mrn|7",
            "7",
            "urn:pnr|",
            "|7",
            r"A\,1\|x",
            r"urn:mrn|A\,1\|x",
            "a b",
            r"x\$y",
            "nobody",
        ),
        "telecom": ("phone|070-123", "070-123", "a@b.example"),
        "phone": ("070-123",),
        "email": ("a@b.example",),
        "_tag": ("urn:tag|t1", "t1", "urn:other|", "urn:tag|t3"),
        "_security": ("urn:sec|R", "N"),
        "_id": ("pati-1", "pati-2", "nobody"),
    },
    "Encounter": {"status": ("planned", "finished"), "class": ("AMB", "IMP"), "_tag": ("t2",)},
    "Condition": {
        "clinical-status": ("active", "http://terminology.hl7.org/CodeSystem/condition-clinical|resolved"),
        "code": ("8867-4", f"{pool.LOINC}|8867-4", f"{pool.LOCAL}|", "|8867-4", f"{pool.SCT}|279039007"),
    },
    "Observation": {
        "status": ("final", "amended", "http://hl7.org/fhir/observation-status|final"),
        "code": ("8867-4", f"{pool.LOINC}|8867-4", f"{pool.LOCAL}|", "|8867-4", rf"{pool.LOCAL}|A\,B\|C"),
        "category": ("29463-7", f"{pool.SCT}|"),
        "combo-code": ("8867-4", f"{pool.LOINC}|8480-6"),
        "component-code": (f"{pool.LOINC}|8480-6", "8462-4"),
        "value-concept": ("8867-4", f"{pool.SCT}|279039007"),
    },
    "ServiceRequest": {
        "status": ("active", "draft", "revoked"),
        "intent": ("order",),
        "priority": ("urgent", "routine"),
        "code": (f"{pool.SCT}|241648009", "8867-4"),
        "identifier": ("urn:mrn|3", "12"),
    },
    "Task": {
        "status": ("requested", "completed"),
        "intent": ("order",),
        "code": ("8867-4",),
        "identifier": ("urn:pnr|3", "|3"),
    },
    "Location": {"status": ("active", "suspended")},
    "Organization": {"active": ("true", "false"), "identifier": ("urn:mrn|",)},
    "ValueSet": {"status": ("active", "retired"), "version": ("1.0", "2.0")},
    "Questionnaire": {"status": ("active", "retired"), "version": ("0.0", "1.0")},
    "QuestionnaireResponse": {"status": ("completed", "in-progress")},
    "MedicationRequest": {"status": ("active", "stopped"), "code": ("8867-4", f"{pool.SCT}|")},
}
TEXTS = {"Condition": "code", "Observation": "code", "ServiceRequest": "code", "Task": "code"}
STRINGS: dict[str, dict[str, tuple[str, ...]]] = {
    "Patient": {
        "family": (*pool.FAMILIES, "åke", "BERG", "van", "o'h", "oh", "strass", "l", "nguyen", "nobody"),
        "given": (*pool.GIVEN, "an", "zo", "karl"),
        "name": ("berg", "anna", "dr", "Zoë", "O'Hara"),
        "address": ("malmö", "malmo", "211", "SE"),
        "address-city": (*pool.CITIES, "st", "göte"),
        "address-postalcode": ("211 20", "21120", "211"),
    },
    "Practitioner": {"family": ("berg", "Müller", "ng"), "name": ("anna", "muller")},
    "Organization": {"name": ("clinic", "Clinic", "över", "Hospital")},
    "Location": {"name": ("Ward 1", "ward", "theatre")},
    "ValueSet": {"title": ("invented", "Things, invented"), "name": ("Inv",)},
    "Questionnaire": {"title": ("before", "visit", "After the visit")},
    "Observation": {"value-string": ("high", "High", "very")},
}
DATES = {
    "Patient": ("birthdate",),
    "Encounter": ("date",),
    "Condition": ("onset-date", "recorded-date"),
    "Observation": ("date", "value-date"),
    "ServiceRequest": ("authored", "occurrence"),
    "Task": ("authored-on", "modified", "period"),
    "CarePlan": ("date",),
    "RiskAssessment": ("date",),
}
WHEN = (
    *("2019", "2020", "2020-02", "2023-12", "2020-02-14", "2023-01-28", "1999", "2020-02-14T09:30"),
    *(
        "2020-02-14T09:30:00Z",
        "2020-02-14T09:30:00+01:00",
        "2023-01-01T00:00:00Z",
        "2023-01-01T12:00:00.500Z",
    ),
)
NUMBERS = ("100", "100.0", "100.00", "99.6", "5.4", "5.40", "0", "-3", "1e2", "37", "0.05", "1000.0")
PROBABILITIES = ("0.8", "0.80", "0.75", "0.1", "1", "0.805", "0.9")
REFERENCES: dict[str, dict[str, tuple[str, ...]]] = {
    "Patient": {
        "general-practitioner": ("Practitioner/prac-1", "Organization/orga-1", "prac-2"),
        "organization": ("Organization/orga-0", "orga-1"),
    },
    "Encounter": {"subject": ("Patient/pati-1", "pati-2"), "part-of": ("Encounter/enco-1",)},
    "Condition": {"subject": ("Patient/pati-1", "pati-3"), "patient": ("Patient/pati-2", "pati-4")},
    "Observation": {
        "subject": ("Patient/pati-1", "pati-2", "Patient/nobody"),
        "patient": ("Patient/pati-3", "pati-4"),
        "performer": ("Practitioner/prac-1", "Organization/orga-2"),
        "encounter": ("Encounter/enco-1", "enco-2"),
        "has-member": ("Observation/obse-1", "Observation/obse-2"),
    },
    "ServiceRequest": {
        "subject": ("Patient/pati-1", "pati-2"),
        "requester": ("Practitioner/prac-1", "prac-2"),
        "performer": ("Organization/orga-1",),
        "based-on": ("ServiceRequest/serv-1",),
        "instantiates-canonical": ("http://x.example/plan", "http://x.example/plan|1.0"),
    },
    "Task": {
        "focus": ("ServiceRequest/serv-1", "serv-2"),
        "owner": ("Organization/orga-1", "Practitioner/prac-1"),
        "patient": ("Patient/pati-1", "pati-2"),
        "subject": ("Patient/pati-3",),
    },
    "QuestionnaireResponse": {
        "questionnaire": (pool.FORMS[0], f"{pool.FORMS[0]}|1.0", f"{pool.FORMS[1]}|9.9"),
        "subject": ("Patient/pati-1", "Patient/pati-2"),
    },
    "MedicationRequest": {"medication": ("Medication/medi-1", "medi-2"), "subject": ("Patient/pati-1",)},
}
URIS = {"ValueSet": "url", "ServiceRequest": "instantiates-uri"}
PAIRS = {
    "code-value-quantity": ("8867-4$gt5", f"{pool.LOINC}|8867-4$le100", "29463-7$100"),
    "component-code-value-quantity": ("8480-6$gt5", f"{pool.LOINC}|8462-4$le100", "8480-6$37.25"),
}
CHAINS = {
    "Observation": (
        ("subject:Patient.family", "berg"),
        ("patient.family", "Öberg"),
        ("patient.birthdate", "ge2020"),
        ("patient.identifier", "urn:mrn|7"),
        ("subject:Patient.general-practitioner:Practitioner.family", "ng"),
        ("performer:Organization.name", "clinic"),
        ("performer.name", "clinic"),
        ("performer.name", "berg,clinic"),
        ("subject.name", "berg"),
        ("encounter.status", "finished"),
        ("encounter.service-provider.name", "hospital"),
        ("patient.gender", "male,female"),
        ("has-member.status", "final"),
    ),
    "Task": (
        ("focus:ServiceRequest.status", "active"),
        ("focus:ServiceRequest.patient.family", "berg"),
        ("owner:Organization.name", "clinic"),
        ("owner.name", "clinic"),
        ("patient.birthdate", "lt2020"),
    ),
    "ServiceRequest": (
        ("patient.family", "åkesson"),
        ("requester:Practitioner.family", "berg"),
        ("performer:Organization.active", "true"),
        ("based-on.status", "draft"),
    ),
    "Encounter": (("service-provider.name", "över"), ("part-of.status", "planned")),
    "QuestionnaireResponse": (
        ("questionnaire:Questionnaire.title", "before"),
        ("questionnaire.status", "active"),
        ("questionnaire.version", "1.0"),
        ("patient.family", "berg"),
    ),
    "MedicationRequest": (
        ("medication.code", "8867-4"),
        ("medication:Medication.code", f"{pool.SCT}|"),
        ("medication.manufacturer.name", "clinic"),
        ("medication:Medication.code:not", "8867-4"),
    ),
}
HAS = {
    "Patient": (
        ("_has:Observation:patient:code", "8867-4"),
        ("_has:Observation:subject:status", "amended"),
        ("_has:Observation:patient:performer.name", "clinic"),
        ("_has:Encounter:patient:date", "ge2023"),
        ("_has:Task:patient:focus:ServiceRequest.status", "active"),
        ("_has:ServiceRequest:patient:_has:Task:focus:status", "requested"),
        ("_has:Condition:patient:clinical-status", "active"),
    ),
    "Organization": (("_has:Patient:organization:gender", "male"), ("_has:Task:owner:status", "requested")),
    "ServiceRequest": (
        ("_has:Task:focus:status", "rejected"),
        ("_has:ServiceRequest:based-on:status", "draft"),
    ),
    "Practitioner": (("_has:Patient:general-practitioner:active", "true"),),
    "Questionnaire": (
        ("_has:QuestionnaireResponse:questionnaire:status", "completed"),
        ("_has:QuestionnaireResponse:questionnaire:patient.family", "berg"),
    ),
}
INCLUDES = {
    "Observation": (
        ("_include", "Observation:subject"),
        ("_include", "Observation:performer:Organization"),
        ("_include", "Observation:encounter"),
        ("_include", "Observation:has-member"),
        ("_include", "Observation:*"),
        ("_revinclude", "Observation:has-member"),
    ),
    "Task": (
        ("_include", "Task:focus"),
        ("_include", "Task:owner"),
        ("_include", "Task:patient"),
        ("_include:iterate", "ServiceRequest:requester"),
        ("_include:iterate", "ServiceRequest:based-on"),
    ),
    "ServiceRequest": (
        ("_include", "ServiceRequest:requester:Practitioner"),
        ("_include", "ServiceRequest:based-on"),
        ("_include:iterate", "ServiceRequest:based-on"),
        ("_revinclude", "Task:focus"),
        ("_revinclude:iterate", "Task:focus"),
    ),
    "Patient": (
        ("_include", "Patient:general-practitioner"),
        ("_include", "Patient:organization"),
        ("_include:iterate", "Organization:partof"),
        ("_revinclude", "Encounter:patient"),
        ("_revinclude", "Task:patient"),
    ),
    "QuestionnaireResponse": (
        ("_include", "QuestionnaireResponse:questionnaire"),
        ("_include", "QuestionnaireResponse:subject"),
        ("_include", "QuestionnaireResponse:*"),
    ),
    "Questionnaire": (
        ("_revinclude", "QuestionnaireResponse:questionnaire"),
        ("_revinclude", "QuestionnaireResponse:*"),
    ),
    "MedicationRequest": (
        ("_include", "MedicationRequest:medication"),
        ("_include", "MedicationRequest:subject"),
    ),
}
SORTS = {
    "Patient": ("family", "-family", "birthdate", "-birthdate", "gender,birthdate", "_id", "-_id"),
    "Observation": ("date", "-date", "status,_id", "value-quantity", "-value-quantity"),
    "ServiceRequest": ("authored", "-authored", "status,-authored"),
    "Task": ("-authored-on", "status,_id", "-modified"),
    "ValueSet": ("url", "title"),
    "RiskAssessment": ("probability", "-probability"),
}


@dataclass(frozen=True)
class TwinQuery:
    """One search. family: what it is a case of, such as "token:not" or "date ge"."""

    family: str
    type: str
    pairs: tuple[tuple[str, str], ...]

    @property
    def url(self) -> str:
        return f"{self.type}?{urlencode(self.pairs, quote_via=quote)}"

    @property
    def counts_only(self) -> bool:
        return ("_summary", "count") in self.pairs

    @property
    def wants_total(self) -> bool:
        return self.counts_only or ("_total", "accurate") in self.pairs

    def in_full(self) -> TwinQuery:
        """The same search for the resources themselves."""
        pairs = tuple(pair for pair in self.pairs if pair != ("_summary", "count"))
        return TwinQuery(self.family, self.type, pairs)

    def on_large_pages(self) -> TwinQuery:
        """The same search without a size of pages that it asks for."""
        return TwinQuery(self.family, self.type, tuple(pair for pair in self.pairs if pair[0] != "_count"))


def queries(size: int, seed: int = 1) -> list[TwinQuery]:
    """`size` searches, no two alike."""
    made: dict[str, TwinQuery] = {}
    chance = random.Random(seed)
    makers = _Maker(chance)
    while len(made) < size:
        query = makers.one()
        made.setdefault(query.url, query)
    return list(made.values())


class _Maker:
    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.kinds: tuple[tuple[Callable[[str | None], TwinQuery], int], ...] = (
            (self._token, 5),
            (self._string, 4),
            (self._date, 5),
            (self._number, 1),
            (self._quantity, 4),
            (self._reference, 4),
            (self._uri, 1),
            (self._near, 1),
            (self._pair, 1),
            (self._chain, 4),
            (self._has, 3),
        )

    def one(self) -> TwinQuery:
        draw = self.chance.random()
        if draw < 0.3:
            return self._plain(None)
        if draw < 0.75:
            return self._both()
        if draw < 0.85:
            return self._included()
        return self._cut()

    def _plain(self, type: str | None) -> TwinQuery:
        makers, weights = zip(*self.kinds, strict=True)
        while True:
            query: TwinQuery = self.chance.choices(makers, weights)[0](type)
            if query.pairs:
                return query

    def _of(self, table: Mapping[str, object], type: str | None) -> str:
        """A type of the table, or the one wanted if the table has it; "" otherwise."""
        if type is None:
            return self.chance.choice(sorted(table))
        return type if type in table else ""

    def _values(self, values: tuple[str, ...]) -> str:
        """One value, or several after commas."""
        most = 1 if self.chance.random() < 0.75 else min(3, len(values))
        return ",".join(self.chance.sample(values, self.chance.randint(1, most)))

    def _missing(self, type: str, code: str) -> TwinQuery:
        return TwinQuery(":missing", type, ((f"{code}:missing", self.chance.choice(("true", "false"))),))

    # ------------------------------------------------------------------------------- one of each type

    def _token(self, type: str | None) -> TwinQuery:
        type = self._of(TOKENS, type)
        if not type:
            return TwinQuery("", "", ())
        draw = self.chance.random()
        if draw < 0.12 and type in TEXTS:
            text = self.chance.choice(("heart", "Pulse", "referral", "said", "only words", "magnetic"))
            return TwinQuery("token:text", type, ((f"{TEXTS[type]}:text", text),))
        if draw < 0.18 and type == "Patient":
            value = self.chance.choice((f"{pool.V2}|MR|7", rf"{pool.V2}|SS|A\,1\|x", f"{pool.V2}|MR|nobody"))
            return TwinQuery("token:of-type", type, (("identifier:of-type", value),))
        code = self.chance.choice(sorted(TOKENS[type]))
        if draw < 0.28 and not code.startswith("_"):
            return self._missing(type, code)
        value = self._values(TOKENS[type][code])
        if draw < 0.45 and code != "_id":
            return TwinQuery("token:not", type, ((f"{code}:not", value),))
        return TwinQuery("token", type, ((code, value),))

    def _string(self, type: str | None) -> TwinQuery:
        type = self._of(STRINGS, type)
        if not type:
            return TwinQuery("", "", ())
        code = self.chance.choice(sorted(STRINGS[type]))
        values = tuple(value.replace(",", "\\,") for value in STRINGS[type][code])
        modifier = self.chance.choice(("", "", "", ":exact", ":contains", ":missing"))
        if modifier == ":missing":
            return self._missing(type, code)
        return TwinQuery(f"string{modifier}", type, ((f"{code}{modifier}", self._values(values)),))

    def _date(self, type: str | None) -> TwinQuery:
        type = self._of(DATES, type)
        if not type:
            return TwinQuery("", "", ())
        code = self.chance.choice(DATES[type])
        if self.chance.random() < 0.06:
            return self._missing(type, code)
        prefix = self.chance.choice(PREFIXES)
        if self.chance.random() < 0.15:
            pairs = ((code, f"ge{self.chance.choice(WHEN)}"), (code, f"lt{self.chance.choice(WHEN)}"))
            return TwinQuery("date from-until", type, pairs)
        # HAPI takes no two dates after a comma, and no ap: seldom, since nothing is compared then.
        if prefix == "ap" and self.chance.random() < 0.7:
            prefix = "ge"
        most = 2 if self.chance.random() < 0.05 else 1
        value = ",".join(prefix + when for when in self.chance.sample(WHEN, most))
        return TwinQuery(f"date {prefix}".strip(), type, ((code, value),))

    def _prefix(self) -> str:
        """Of a number. HAPI has no sa and eb there: seldom, since nothing is compared then."""
        prefix = self.chance.choice(PREFIXES)
        return "ge" if prefix in ("sa", "eb") and self.chance.random() < 0.8 else prefix

    def _number(self, type: str | None) -> TwinQuery:
        if type not in (None, "RiskAssessment"):
            return TwinQuery("", "", ())
        prefix = self._prefix()
        value = prefix + self.chance.choice(PROBABILITIES)
        return TwinQuery(f"number {prefix}".strip(), "RiskAssessment", (("probability", value),))

    def _quantity(self, type: str | None) -> TwinQuery:
        if type not in (None, "Observation"):
            return TwinQuery("", "", ())
        prefix = self._prefix()
        unit = self.chance.choice(
            ("", "", f"|{pool.UCUM}|mg", "||mg", f"|{pool.UCUM}|g", "||tablets", f"|{pool.UCUM}|")
        )
        code = self.chance.choice(
            ("value-quantity", "value-quantity", "component-value-quantity", "combo-value-quantity")
        )
        value = f"{prefix}{self.chance.choice(NUMBERS)}{unit}"
        return TwinQuery(f"quantity {prefix}".strip(), "Observation", ((code, value),))

    def _reference(self, type: str | None) -> TwinQuery:
        type = self._of(REFERENCES, type)
        if not type:
            return TwinQuery("", "", ())
        code = self.chance.choice(sorted(REFERENCES[type]))
        draw = self.chance.random()
        if draw < 0.1:
            return self._missing(type, code)
        if draw < 0.13 and code in ("subject", "patient"):
            value = f"urn:mrn|{self.chance.randrange(60)}"
            return TwinQuery("reference:identifier", type, ((f"{code}:identifier", value),))
        if draw < 0.35 and code == "subject":
            value = self.chance.choice(("pati-1", "pati-2", "pati-5"))
            return TwinQuery("reference:Type", type, (("subject:Patient", value),))
        return TwinQuery("reference", type, ((code, self._values(REFERENCES[type][code])),))

    def _uri(self, type: str | None) -> TwinQuery:
        type = self._of(URIS, type)
        if not type:
            return TwinQuery("", "", ())
        return TwinQuery("uri", type, ((URIS[type], self._values((*pool.URIS, "http://x.example/vs"))),))

    def _near(self, type: str | None) -> TwinQuery:
        if type not in (None, "Location"):
            return TwinQuery("", "", ())
        where = self.chance.choice(("59.35|18.03|5|km", "59.35|18.03|0.5|km", "57.7|18.03|10|km", "0|0|1|km"))
        return TwinQuery("special near", "Location", (("near", where),))

    def _pair(self, type: str | None) -> TwinQuery:
        if type not in (None, "Observation"):
            return TwinQuery("", "", ())
        code = self.chance.choice(sorted(PAIRS))
        return TwinQuery("composite", "Observation", ((code, self.chance.choice(PAIRS[code])),))

    def _chain(self, type: str | None) -> TwinQuery:
        type = self._of(CHAINS, type)
        return (
            TwinQuery("chain", type, (self.chance.choice(CHAINS[type]),)) if type else TwinQuery("", "", ())
        )

    def _has(self, type: str | None) -> TwinQuery:
        type = self._of(HAS, type)
        return TwinQuery("_has", type, (self.chance.choice(HAS[type]),)) if type else TwinQuery("", "", ())

    # ------------------------------------------------------------------------------------- combinations

    def _both(self) -> TwinQuery:
        first = self._plain(None)
        second = self._plain(first.type)
        while any(kind in first.family and kind in second.family for kind in ("date", "quantity")):
            # HAPI takes no two free conditions on one date, and for two quantities it looks for minutes.
            second = self._plain(first.type)
        return TwinQuery(f"{first.family} & {second.family}", first.type, (*first.pairs, *second.pairs))

    def _included(self) -> TwinQuery:
        type = self.chance.choice(sorted(INCLUDES))
        base = self._plain(type)
        includes = self.chance.sample(INCLUDES[type], self.chance.choice((1, 1, 2)))
        return TwinQuery(f"{base.family} & include", type, (*base.pairs, *includes))

    def _cut(self) -> TwinQuery:
        """Sorted, paged, counted."""
        type = self.chance.choice(sorted(SORTS))
        base = self._plain(type)
        draw = self.chance.random()
        if draw < 0.6:
            pairs: tuple[tuple[str, str], ...] = (*base.pairs, ("_sort", self.chance.choice(SORTS[type])))
            pairs += (("_count", self.chance.choice(("60", "170"))),) if self.chance.random() < 0.4 else ()
            return TwinQuery(f"{base.family} & sort", type, pairs)
        if draw < 0.75:
            return TwinQuery(
                f"{base.family} & total", type, (*base.pairs, ("_total", "accurate"), ("_count", "50"))
            )
        if draw < 0.9:
            return TwinQuery(f"{base.family} & count", type, (*base.pairs, ("_summary", "count")))
        return TwinQuery(f"{base.family} & pages", type, (*base.pairs, ("_count", "80")))
