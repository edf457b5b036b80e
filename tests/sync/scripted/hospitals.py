"""What the EHRs of hospitals and practices do beside their own statement."""

from __future__ import annotations

from typing import Any

from tests.sync.scripted.contradictions import Times, contradicts, entries, is_search, refused, without_total
from tests.sync.scripted.ehr import HTML, Answer, Ask, Reply, ScriptedEhr, outcome

ATHENA_FLEX = "https://github.com/athenahealth/apiserver-athenaFlex/issues"
CERNER = "https://github.com/cerner/fhir.cerner.com/blob/main/content/millennium/r4"
EPIC_ERRORS = "https://api.enablemyhealth.com/Errors, which repeats Epic's list of codes"
MEDITECH = "https://github.com/api-evangelist/meditech"
ORACLE_CHANGES = (
    "https://docs.oracle.com/en/industries/health/health-ai-application-suite/aifcl/change-log.html"
)
SMART_FETCH = "https://github.com/smart-on-fhir/smart-fetch"

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
def nothing_found_is_a_bundle_with_a_remark() -> Answer:
    def answer(ehr: ScriptedEhr, ask: Ask) -> Reply:
        reply = ehr.honest(ask)
        if is_search(ask) and reply.status == 200 and not entries(reply):
            reply.data["entry"] = [{"resource": outcome("warning", "processing", "4101")}]
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


@contradicts("epic", "4122 in Epic's list of codes: https://fhir.epic.com/Specifications?api=10450", "equal")
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


@contradicts("epic", "4103 in Epic's list of codes: https://fhir.epic.com/Specifications?api=10450", "equal")
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
    "athenahealth",
    "https://github.com/drajer-health/eCRNow/issues/281",
    "equal",
    vendor_file=_PRACTICE,
    averted=True,
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
    return without_total(lambda ask: True)


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
    return refused("Encounter", Reply(403, outcome("error", "processing", text="Not authorized")))


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
    return refused("Appointment", Reply(404, outcome("error", "not-supported")))


@contradicts("meditech", "https://home.meditech.com/en/d/restapiresources/pages/apiterms.htm", "equal")
def it_limits_at_its_discretion() -> Answer:
    limited = Times(1)

    def answer(ehr: ScriptedEhr, ask: Ask) -> Reply:
        return Reply(429, body=b"") if ask.path != "metadata" and limited(ask.type) else ehr.honest(ask)

    return answer


@contradicts(
    "meditech",
    f"scopes in {MEDITECH}/blob/main/authentication/meditech-greenfield-oauth.yml",
    "told",
    told="ServiceRequest",
)
def a_scope_that_is_advertised_is_not_granted() -> Answer:
    return refused("ServiceRequest", Reply(403, outcome("error", "forbidden")))


@contradicts(
    "meditech",
    f"fhir.meditech.com in {MEDITECH}/blob/main/well-known/meditech-well-known.yml",
    "told",
    told="HTML instead of FHIR JSON",
)
def a_former_address_answers_everything_by_a_page_for_browsers() -> Answer:
    return lambda ehr, ask: HTML
