"""What servers that anybody can run do beside their own statement."""

from __future__ import annotations

from tests.sync.scripted.contradictions import (
    Times,
    contradicts,
    entries,
    has_next,
    is_search,
    without_next,
    without_total,
)
from tests.sync.scripted.ehr import Answer, Ask, Reply, ScriptedEhr, outcome

HAPI = "https://github.com/hapifhir/hapi-fhir/issues"
FHIR2 = "https://github.com/openmrs/openmrs-module-fhir2"
MEDPLUM = "https://github.com/medplum/medplum"

# --- HAPI FHIR ------------------------------------------------------------------------------------


@contradicts("hapi", f"{HAPI}/785", "equal")
def the_first_page_has_no_total() -> Answer:
    return without_total(lambda ask: "_getpages" not in ask.parameters)


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


@contradicts("hapi", f"{HAPI}/6549", "told", told="Task")
def a_page_lacks_its_link_to_the_next() -> Answer:
    def answer(ehr: ScriptedEhr, ask: Ask) -> Reply:
        reply = ehr.honest(ask)
        return without_next(reply) if ask.type == "Task" and is_search(ask) and has_next(reply) else reply

    return answer


@contradicts("hapi", f"{HAPI}/3599", "told", told="Organization")
def it_ends_after_so_many_records_without_a_word() -> Answer:
    def answer(ehr: ScriptedEhr, ask: Ask) -> Reply:
        reply = ehr.honest(ask)
        shown = entries(reply)
        is_second = "_getpages" in ask.parameters and ask.parameters["_getpages"].endswith("-2")
        if is_second and shown and shown[0]["resource"]["resourceType"] == "Organization":
            reply.data["entry"] = shown[:2]
            return without_next(reply)
        return reply

    return answer


@contradicts("hapi", f"{HAPI}/3608", "equal")
def pages_repeat_some_records_and_omit_others() -> Answer:
    shifts = Times(1)

    def answer(ehr: ScriptedEhr, ask: Ask) -> Reply:
        token = ask.parameters.get("_getpages", "")
        if token.endswith("-2") and shifts(ehr.sessions[token[:-2]][1].type):
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


@contradicts("medplum", f"{MEDPLUM}/issues/4608", "equal", averted=True)
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
    return without_total(lambda ask: "_summary" not in ask.parameters)


@contradicts("medplum", f"{MEDPLUM}/blob/main/packages/server/src/ratelimit.ts", "equal")
def a_quota_is_told_by_another_header() -> Answer:
    used_up = Times(2)

    def answer(ehr: ScriptedEhr, ask: Ask) -> Reply:
        if ask.type == "Task" and used_up():
            headers = {"ratelimit": '"requests";r=0;t=7, "fhirInteractions";r=400;t=60'}
            return Reply(429, outcome("error", "throttled"), headers)
        return ehr.honest(ask)

    return answer


@contradicts("medplum", f"{MEDPLUM}/pull/5298", "equal", averted=True)
def offsets_end_at_a_limit() -> Answer:
    def answer(ehr: ScriptedEhr, ask: Ask) -> Reply:
        token = ask.parameters.get("_cursor", "")
        if token and "_sort" not in ehr.sessions[token.partition("-")[0]][1].parameters:
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
            return Reply(410, outcome("error", "processing"))
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
            ehr.contradicted += 1
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


@contradicts("openmrs", f"{FHIR2}: RequireAuthenticationInterceptor", "told", told="401")
def a_sign_in_is_wanted_that_the_statement_does_not_name() -> Answer:
    def answer(ehr: ScriptedEhr, ask: Ask) -> Reply:
        if ask.path.startswith(("metadata", ".well-known")):
            return ehr.honest(ask)
        return Reply(401, body=b"Not authenticated", headers={"content-type": "text/html"})

    return answer
