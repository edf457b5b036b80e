"""What servers do that contradicts what they say of themselves, or the standard; each with a public source.

A contradiction answers in place of the script and may ask it for the honest answer. `ends` says what has to
hold: "equal", the store ends as with an honest server; "told", the fault is told, and nothing is claimed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from tests.sync.scripted.ehr import HTML, Answer, Ask, Reply, ScriptedEhr, outcome

ATHENA_FLEX = "https://github.com/athenahealth/apiserver-athenaFlex/issues"
CERNER = "https://github.com/cerner/fhir.cerner.com/blob/main/content/millennium/r4"
EPIC_ERRORS = "https://api.enablemyhealth.com/Errors (a copy of Epic's list of FHIR error codes)"
FHIR2 = "https://github.com/openmrs/openmrs-module-fhir2"
HAPI = "https://github.com/hapifhir/hapi-fhir/issues"
MEDITECH = "https://github.com/api-evangelist/meditech"
MEDPLUM = "https://github.com/medplum/medplum"
ORACLE_CHANGES = (
    "https://docs.oracle.com/en/industries/health/health-ai-application-suite/aifcl/change-log.html"
)
SMART_FETCH = "https://github.com/smart-on-fhir/smart-fetch"


@dataclass(frozen=True)
class Contradiction:
    """One case; vendor_file: the text of a vendor file of the site's own, if it needs one."""

    vendor: str
    name: str
    source: str
    ends: Literal["equal", "told"]
    make: Callable[[], Answer]
    signed_in: bool = False
    vendor_file: str = ""
    told: str = ""
    """What a report says of it."""


ALL: list[Contradiction] = []


def contradicts(
    vendor: str, source: str, ends: Literal["equal", "told"], **more: Any
) -> Callable[[Callable[[], Answer]], Callable[[], Answer]]:
    """Register a function that makes the answers of one server; its name is the name of the case."""

    def register(make: Callable[[], Answer]) -> Callable[[], Answer]:
        name = make.__name__.replace("_", "-")
        ALL.append(Contradiction(vendor, name, source, ends, make, **more))
        return make

    return register


@dataclass
class Times:
    """Says True the first so many times, for each key by itself."""

    limit: int
    seen: Counter[str] = field(default_factory=Counter)

    def __call__(self, key: str = "") -> bool:
        self.seen[key] += 1
        return self.seen[key] <= self.limit


def entries(reply: Reply) -> list[dict[str, Any]]:
    return list(reply.data.get("entry", [])) if reply.data else []


def is_search(ask: Ask) -> bool:
    return bool(ask.type) and not ask.id and not ask.is_history


# --- Epic -----------------------------------------------------------------------------------------


@contradicts("epic", f"4113 in {EPIC_ERRORS}", "equal")
def the_paging_session_expires() -> Answer:
    expires = Times(1)

    def answer(ehr: ScriptedEhr, ask: Ask) -> Reply:
        if "sessionID" in ask.parameters and expires(ask.type):
            return Reply(400, outcome("fatal", "processing", "4113"))
        return ehr.honest(ask)

    return answer


@contradicts("epic", "https://github.com/cqframework/cql-engine/issues/9, and 4101", "equal")
def nothing_found_is_an_outcome_and_no_bundle() -> Answer:
    def answer(ehr: ScriptedEhr, ask: Ask) -> Reply:
        reply = ehr.honest(ask)
        if is_search(ask) and reply.status == 200 and not entries(reply):
            return Reply(404, outcome("warning", "processing", "4101"))
        return reply

    return answer


@contradicts("epic", f"{SMART_FETCH}/blob/main/smart_fetch/filtering.py", "equal")
def records_do_not_say_when_they_were_updated() -> Answer:
    def answer(ehr: ScriptedEhr, ask: Ask) -> Reply:
        reply = ehr.honest(ask)
        if ask.id and reply.status == 200:
            return Reply(200, {**reply.data, "meta": {}})
        for entry in entries(reply):
            entry["resource"] = {**entry["resource"], "meta": {}}
        return reply

    return answer


@contradicts("epic", "4122: https://fhir.epic.com/Specifications?api=10450", "equal")
def a_parameter_is_not_used_and_only_a_warning_says_so() -> Answer:
    def answer(ehr: ScriptedEhr, ask: Ask) -> Reply:
        reply = ehr.honest(ask)
        if "category" in ask.parameters and reply.status == 200:
            warning = {
                "resource": outcome("warning", "processing", "4122"),
                "search": {"mode": "outcome"},
            }
            reply.data["entry"] = [*entries(reply), warning]
        return reply

    return answer


@contradicts("epic", f"4103 in {EPIC_ERRORS}", "equal")
def a_deleted_record_is_told_by_a_code_alone() -> Answer:
    def answer(ehr: ScriptedEhr, ask: Ask) -> Reply:
        if f"{ask.type}/{ask.id}" in ehr.gone:
            return Reply(400, outcome("fatal", "processing", "4103"))
        return ehr.honest(ask)

    return answer


@contradicts("epic", "https://github.com/onc-healthit/inferno-program/issues/229", "equal")
def good_answers_warn_that_there_may_be_more() -> Answer:
    def answer(ehr: ScriptedEhr, ask: Ask) -> Reply:
        reply = ehr.honest(ask)
        if is_search(ask) and reply.status == 200:
            warning = {"resource": outcome("warning", "processing", "4119"), "search": {"mode": "outcome"}}
            reply.data["entry"] = [*entries(reply), warning]
        return reply

    return answer


# --- Oracle Health --------------------------------------------------------------------------------


@contradicts("oracle-health", "https://github.com/beda-software/fhir-py/issues/100", "equal")
def a_size_of_page_is_refused_beside_ids() -> Answer:
    def answer(ehr: ScriptedEhr, ask: Ask) -> Reply:
        if {"_id", "_count"} <= ask.parameters.keys():
            return Reply(400, outcome("error", "invalid"))
        return ehr.honest(ask)

    return answer


@contradicts(
    "oracle-health",
    "https://forums.oracle.com/ords/apexds/post/too-many-requests-error-single-user-api-usage-need-rate-li-1254",
    "equal",
)
def it_throttles_without_saying_for_how_long() -> Answer:
    throttled = Times(1)

    def answer(ehr: ScriptedEhr, ask: Ask) -> Reply:
        if ask.path != "metadata" and throttled(ask.type):
            return Reply(429, outcome("error", "throttled", text="Too Many Requests"))
        return ehr.honest(ask)

    return answer


@contradicts("oracle-health", f"_count Maximum Value in {ORACLE_CHANGES}", "equal")
def pages_are_smaller_than_asked_and_differ_by_type() -> Answer:
    def answer(ehr: ScriptedEhr, ask: Ask) -> Reply:
        if is_search(ask) and "_count" in ask.parameters:
            return ehr.honest(ask.with_(_count=str(1 + len(ask.type) % 3)))
        return ehr.honest(ask)

    return answer


@contradicts(
    "oracle-health", f"Search Bundle Error Handling in {ORACLE_CHANGES}", "told", told="ServiceRequest"
)
def one_record_that_is_not_valid_fails_the_whole_search() -> Answer:
    def answer(ehr: ScriptedEhr, ask: Ask) -> Reply:
        if ask.type == "ServiceRequest" and ask.parameters.get("patient") == "p1":
            return Reply(500, outcome("error", "exception"))
        return ehr.honest(ask)

    return answer


@contradicts(
    "oracle-health",
    "https://www.mindbowser.com/cerner-fhir-api-clinical-document-handling/",
    "told",
    told="Encounter",
)
def what_our_account_may_not_see_is_not_found() -> Answer:
    def answer(ehr: ScriptedEhr, ask: Ask) -> Reply:
        if ask.type == "Encounter":
            return Reply(404, outcome("error", "not-found"))
        return ehr.honest(ask)

    return answer


@contradicts("oracle-health", f"_lastUpdated in {CERNER}/care-provision/service-request.md", "equal")
def a_change_that_is_not_clinical_moves_no_stamp() -> Answer:
    first: dict[str, Any] = {}

    def answer(ehr: ScriptedEhr, ask: Ask) -> Reply:
        reply = ehr.honest(ask)
        for entry in entries(reply):
            resource = entry["resource"]
            if resource["resourceType"] == "ServiceRequest":
                entry["resource"] = {**resource, "meta": first.setdefault(resource["id"], resource["meta"])}
        return reply

    return answer


# --- athenahealth ---------------------------------------------------------------------------------

_PRACTICE = 'like = "athenahealth"\n[parameters]\n"ah-practice:Organization" = "a-1.Practice-195900"\n'


def _needs_practice() -> Answer:
    def answer(ehr: ScriptedEhr, ask: Ask) -> Reply:
        if is_search(ask) and not {"ah-practice:Organization", "cursor"} & ask.parameters.keys():
            return Reply(403, outcome("error", "forbidden"))
        return ehr.honest(ask)

    return answer


@contradicts(
    "athenahealth", "https://github.com/drajer-health/eCRNow/issues/281", "told", told="ServiceRequest"
)
def a_search_without_its_practice_goes_nowhere() -> Answer:
    return _needs_practice()


@contradicts(
    "athenahealth", "https://github.com/drajer-health/eCRNow/issues/281", "equal", vendor_file=_PRACTICE
)
def a_search_with_its_practice_is_answered() -> Answer:
    return _needs_practice()


@contradicts("athenahealth", f"{ATHENA_FLEX}/252", "told", told="ServiceRequest")
def a_search_that_it_does_not_take_is_answered_200() -> Answer:
    def answer(ehr: ScriptedEhr, ask: Ask) -> Reply:
        if ask.type == "ServiceRequest" and ask.parameters.get("patient") == "p1":
            said = {"resource": outcome("error", "invalid"), "search": {"mode": "outcome"}}
            return Reply(200, {"resourceType": "Bundle", "type": "searchset", "entry": [said]})
        return ehr.honest(ask)

    return answer


@contradicts("athenahealth", f"{ATHENA_FLEX}/252", "equal")
def bundles_have_no_total() -> Answer:
    return _without_total(lambda ask: True)


@contradicts("athenahealth", f"{ATHENA_FLEX}/359", "equal")
def how_long_to_wait_stands_in_the_text_only() -> Answer:
    throttled = Times(2)

    def answer(ehr: ScriptedEhr, ask: Ask) -> Reply:
        if ask.type == "Encounter" and throttled():
            text = "User Rate Limit Exceeded, Try in another 844 seconds"
            return Reply(429, outcome("error", "exception", text=text))
        return ehr.honest(ask)

    return answer


@contradicts("athenahealth", f"{ATHENA_FLEX}/399", "told", told="Encounter")
def a_type_that_was_granted_is_forbidden() -> Answer:
    return _refused("Encounter", Reply(403, outcome("error", "processing", text="Not authorized")))


# --- MEDITECH -------------------------------------------------------------------------------------


@contradicts(
    "meditech",
    f"{MEDITECH}/blob/main/authentication/meditech-greenfield-oauth.yml",
    "told",
    signed_in=True,
    told="unauthorized_client",
)
def client_credentials_are_advertised_and_refused() -> Answer:
    def answer(ehr: ScriptedEhr, ask: Ask) -> Reply:
        if ask.path == "token":
            return Reply(400, {"error": "unauthorized_client"})
        return ehr.honest(ask)

    return answer


@contradicts(
    "meditech",
    f"{MEDITECH}/blob/main/conformance/meditech-greenfield-conformance.yml",
    "told",
    told="Appointment",
)
def a_type_of_the_statement_is_still_to_come() -> Answer:
    return _refused("Appointment", Reply(404, outcome("error", "not-supported")))


@contradicts("meditech", "https://home.meditech.com/en/d/restapiresources/pages/apiterms.htm", "equal")
def it_limits_at_its_discretion() -> Answer:
    limited = Times(1)

    def answer(ehr: ScriptedEhr, ask: Ask) -> Reply:
        return Reply(429, body=b"") if ask.path != "metadata" and limited(ask.type) else ehr.honest(ask)

    return answer


@contradicts("meditech", f"{MEDITECH}/blob/main/scopes/meditech-scopes.yml", "told", told="ServiceRequest")
def a_scope_that_is_advertised_is_not_granted() -> Answer:
    return _refused("ServiceRequest", Reply(403, outcome("error", "forbidden")))


@contradicts("meditech", f"{MEDITECH}/blob/main/well-known/meditech-well-known.yml", "told", told="CarePlan")
def a_page_for_browsers_comes_with_200() -> Answer:
    return _refused("CarePlan", HTML)


# --- HAPI FHIR ------------------------------------------------------------------------------------


def _without_total(where: Callable[[Ask], bool]) -> Answer:
    def answer(ehr: ScriptedEhr, ask: Ask) -> Reply:
        reply = ehr.honest(ask)
        if entries(reply) and where(ask):
            del reply.data["total"]
        return reply

    return answer


def _refused(type: str, reply: Reply) -> Answer:
    return lambda ehr, ask: reply if is_search(ask) and ask.type == type else ehr.honest(ask)


def _without_next(reply: Reply) -> Reply:
    reply.data["link"] = [link for link in reply.data["link"] if link["relation"] != "next"]
    return reply


@contradicts("hapi", f"{HAPI}/785", "equal")
def the_first_page_has_no_total() -> Answer:
    return _without_total(lambda ask: "_getpages" not in ask.parameters)


@contradicts("hapi", f"{HAPI}/5237", "equal")
def the_last_page_names_another_that_is_empty() -> Answer:
    def answer(ehr: ScriptedEhr, ask: Ask) -> Reply:
        reply = ehr.honest(ask)
        if is_search(ask) and reply.status == 200 and not has_next(reply) and entries(reply):
            reply.data.setdefault("link", []).append(
                {"relation": "next", "url": f"{ehr.url}?_getpages=end-0"}
            )
        if ask.parameters.get("_getpages") == "end-0":
            return Reply(200, {"resourceType": "Bundle", "type": "searchset", "entry": []})
        return reply

    return answer


def has_next(reply: Reply) -> bool:
    return any(link["relation"] == "next" for link in reply.data.get("link", []))


@contradicts("hapi", f"{HAPI}/6549", "told", told="Task")
def a_page_lacks_its_link_to_the_next() -> Answer:
    def answer(ehr: ScriptedEhr, ask: Ask) -> Reply:
        reply = ehr.honest(ask)
        return _without_next(reply) if ask.type == "Task" and is_search(ask) and has_next(reply) else reply

    return answer


@contradicts("hapi", f"{HAPI}/3599", "told", told="Organization")
def it_ends_after_so_many_records_without_a_word() -> Answer:
    def answer(ehr: ScriptedEhr, ask: Ask) -> Reply:
        reply = ehr.honest(ask)
        shown = entries(reply)
        is_second = "_getpages" in ask.parameters and ask.parameters["_getpages"].endswith("-5")
        if is_second and shown and shown[0]["resource"]["resourceType"] == "Organization":
            reply.data["entry"] = shown[:2]
            return _without_next(reply)
        return reply

    return answer


@contradicts("hapi", f"{HAPI}/3608", "equal")
def pages_repeat_some_records_and_omit_others() -> Answer:
    shifts = Times(1)

    def answer(ehr: ScriptedEhr, ask: Ask) -> Reply:
        token = ask.parameters.get("_getpages", "")
        if token.endswith("-5") and shifts(token[:2]):
            reply, before = ehr.honest(ask), ehr.honest(ask.with_(_getpages=f"{token[:-2]}-0"))
            reply.data["entry"] = [*entries(before)[-2:], *entries(reply)[:-2]]
            return reply
        return ehr.honest(ask)

    return answer


@contradicts("hapi", f"{HAPI}/2114", "equal")
def a_history_lacks_its_link_to_the_next() -> Answer:
    def answer(ehr: ScriptedEhr, ask: Ask) -> Reply:
        reply = ehr.honest(ask)
        if ask.is_history:
            reply.data["entry"] = entries(reply)[:1]
        return reply

    return answer


# --- Medplum --------------------------------------------------------------------------------------


@contradicts("medplum", f"{MEDPLUM}/issues/4608", "equal")
def pages_overlap_unless_they_are_sorted() -> Answer:
    def answer(ehr: ScriptedEhr, ask: Ask) -> Reply:
        if is_search(ask) and "_sort" not in ask.parameters and "_cursor" not in ask.parameters:
            reply = ehr.honest(ask)
            if "_id" not in ask.parameters and entries(reply):
                reply.data["entry"] = [entries(reply)[0]] * len(entries(reply))
            return reply
        return ehr.honest(ask)

    return answer


@contradicts("medplum", "https://www.medplum.com/docs/search/paginated-search", "equal")
def no_page_has_a_total() -> Answer:
    return _without_total(lambda ask: "_summary" not in ask.parameters)


@contradicts("medplum", f"{MEDPLUM}/blob/main/packages/server/src/ratelimit.ts", "equal")
def a_quota_is_told_by_another_header() -> Answer:
    used_up = Times(2)

    def answer(ehr: ScriptedEhr, ask: Ask) -> Reply:
        if ask.type == "Task" and used_up():
            headers = {"ratelimit": '"requests";r=0;t=7, "fhirInteractions";r=400;t=60'}
            return Reply(429, outcome("error", "throttled"), headers)
        return ehr.honest(ask)

    return answer


@contradicts("medplum", f"{MEDPLUM}/pull/5298", "equal")
def offsets_end_at_a_limit() -> Answer:
    def answer(ehr: ScriptedEhr, ask: Ask) -> Reply:
        token = ask.parameters.get("_cursor", "")
        if token and "_sort" not in ehr._sessions[token.partition("-")[0]][1].parameters:
            return Reply(400, outcome("error", "invalid", text="Search offset exceeds maximum"))
        return ehr.honest(ask)

    return answer


@contradicts("medplum", f"{MEDPLUM}/issues/1684", "equal")
def a_search_shows_one_record_twice() -> Answer:
    def answer(ehr: ScriptedEhr, ask: Ask) -> Reply:
        reply = ehr.honest(ask)
        if is_search(ask) and entries(reply):
            reply.data["entry"] = [entries(reply)[0], *entries(reply)]
        return reply

    return answer


@contradicts("medplum", "https://www.medplum.com/docs/search/paginated-search", "told", told="counts")
def a_total_is_an_estimate() -> Answer:
    def answer(ehr: ScriptedEhr, ask: Ask) -> Reply:
        reply = ehr.honest(ask)
        if ask.type == "Encounter" and is_search(ask) and "total" in (reply.data or {}):
            reply.data["total"] += 3
        return reply

    return answer


# --- OpenMRS --------------------------------------------------------------------------------------


@contradicts("openmrs", f"{FHIR2}: FhirRestServlet, FifoMemoryPagingProvider(100)", "equal")
def searches_of_others_push_ours_out_of_memory() -> Answer:
    pushed = Times(1)

    def answer(ehr: ScriptedEhr, ask: Ask) -> Reply:
        if "_getpages" in ask.parameters and pushed():
            ehr.forget()
        return ehr.honest(ask)

    return answer


@contradicts("openmrs", f"{FHIR2}: SearchQueryBundleProvider", "equal")
def pages_are_searched_anew_and_the_total_is_old() -> Answer:
    comes = Times(1)

    def answer(ehr: ScriptedEhr, ask: Ask) -> Reply:
        reply = ehr.honest(ask)
        if ask.type == "Encounter" and has_next(reply) and comes():
            # Somebody's visit leaves the front of the list and is put back at its end.
            first = next(iter(ehr.found(ask)))
            ehr.records[first] = ehr.records.pop(first)
        return reply

    return answer


@contradicts("openmrs", f"{FHIR2}: OpenmrsFhirAddressStrategy", "equal")
def links_name_the_inner_host() -> Answer:
    def answer(ehr: ScriptedEhr, ask: Ask) -> Reply:
        reply = ehr.honest(ask)
        for link in reply.data.get("link", []):
            link["url"] = link["url"].replace(ehr.url, "http://openmrs:8080/openmrs/ws/fhir2/R4")
        return reply

    return answer


@contradicts("openmrs", f"{FHIR2}: FhirRestServlet, fhir2.paging.maximum", "equal")
def a_site_has_set_smaller_pages() -> Answer:
    def answer(ehr: ScriptedEhr, ask: Ask) -> Reply:
        return ehr.honest(ask.with_(_count="2") if "_count" in ask.parameters else ask)

    return answer


@contradicts("openmrs", "https://github.com/ohs-foundation/fhir-data-pipes/pull/798", "equal")
def an_offset_returns_everything_at_once() -> Answer:
    def answer(ehr: ScriptedEhr, ask: Ask) -> Reply:
        if "_offset" in ask.parameters:
            return Reply(500, outcome("error", "timeout"))
        return ehr.honest(ask)

    return answer
