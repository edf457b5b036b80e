"""Search against a plain loop over all resources that follows the R4 search page word by word."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fhir_coprod import jsontext
from fhir_coprod.store import Query, Store

Data = dict[str, Any]

_counter = itertools.count()
_SETTINGS = settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

PREFIXES = ("", "eq", "ne", "gt", "lt", "ge", "le", "sa", "eb")


def stored(store: Store, resources: list[Data]) -> str:
    """Store the resources as one fresh family, marked by a tag; answers the tag."""
    mark = f"m{next(_counter)}"

    def work(transaction: Any) -> None:
        for number, data in enumerate(resources):
            document = jsontext.from_data({**data, "meta": {"tag": [{"code": mark}]}})
            transaction.put(document, f"{mark}-{number}")

    store.write(work)
    return mark


def found(store: Store, type: str, mark: str, *pairs: tuple[str, str]) -> list[int]:
    query = Query.parse(type, [("_tag", mark), ("_count", "1000"), *pairs], strict=True)
    return [int(version.id.rpartition("-")[2]) for version in store.search(query).matches]


def expected(resources: list[Data], holds: Callable[[Data], bool]) -> list[int]:
    return [number for number, data in enumerate(resources) if holds(data)]


# --------------------------------------------------------------------------------------------------- dates

moments = st.integers(-3 * 86_400, 60 * 86_400).map(
    lambda seconds: datetime(2013, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
)
precisions = st.sampled_from(("%Y", "%Y-%m", "%Y-%m-%d", "%Y-%m-%dT%H:%MZ", "%Y-%m-%dT%H:%M:%SZ"))
dates = st.builds(lambda moment, form: moment.strftime(form), moments, precisions)
# A dateTime with a time has seconds; a search may leave them out.
element_dates = dates.filter(lambda text: text.count(":") != 1)

Span = tuple[datetime, datetime]


def span(text: str) -> Span:
    """First instant, and first instant after, of a date as FHIR writes it."""
    forms = {4: "%Y", 7: "%Y-%m", 10: "%Y-%m-%d", 17: "%Y-%m-%dT%H:%MZ", 20: "%Y-%m-%dT%H:%M:%SZ"}
    begin = datetime.strptime(text, forms[len(text)]).replace(tzinfo=UTC)
    if len(text) == 4:
        return begin, begin.replace(year=begin.year + 1)
    if len(text) == 7:
        return begin, (begin + timedelta(days=32)).replace(day=1)
    return begin, begin + {10: timedelta(days=1), 17: timedelta(minutes=1), 20: timedelta(seconds=1)}[
        len(text)
    ]


def spans(data: Data) -> list[Span]:
    begin = datetime(1, 1, 1, tzinfo=UTC)
    end = datetime(9999, 1, 1, tzinfo=UTC)
    if "effectiveDateTime" in data:
        return [span(data["effectiveDateTime"])]
    if "effectivePeriod" in data:
        period = data["effectivePeriod"]
        first = span(period["start"])[0] if "start" in period else begin
        last = span(period["end"])[1] if "end" in period else end
        return [(first, last)]
    events = [span(event) for event in data.get("effectiveTiming", {}).get("event", [])]
    # Of a Timing only the outer limits matter.
    return [(min(first for first, _ in events), max(last for _, last in events))] if events else []


def date_holds(prefix: str, sought: Span, target: Span) -> bool:
    """The words of the table of prefixes."""
    fully_contains = sought[0] <= target[0] and target[1] <= sought[1]
    above_intersects = target[1] > sought[1]
    below_intersects = target[0] < sought[0]
    return {
        "": fully_contains,
        "eq": fully_contains,
        "ne": not fully_contains,
        "gt": above_intersects,
        "lt": below_intersects,
        "ge": above_intersects or fully_contains,
        "le": below_intersects or fully_contains,
        "sa": target[0] >= sought[1],
        "eb": target[1] <= sought[0],
    }[prefix]


observations = st.one_of(
    st.builds(lambda date: {"effectiveDateTime": date}, element_dates),
    st.builds(
        lambda pair: {"effectivePeriod": dict(zip(("start", "end"), sorted(pair), strict=True))},
        st.tuples(element_dates, element_dates),
    ),
    st.builds(lambda date: {"effectivePeriod": {"start": date}}, element_dates),
    st.builds(lambda date: {"effectivePeriod": {"end": date}}, element_dates),
    st.builds(
        lambda events: {"effectiveTiming": {"event": events}}, st.lists(element_dates, min_size=1, max_size=3)
    ),
    st.just({}),
).map(lambda data: {"resourceType": "Observation", **data})


@_SETTINGS
@given(
    st.lists(observations, min_size=1, max_size=12),
    st.lists(st.tuples(st.sampled_from(PREFIXES), dates), min_size=1, max_size=8),
)
def test_dates(store: Store, resources: list[Data], sought: list[tuple[str, str]]) -> None:
    mark = stored(store, resources)
    for prefix, date in sought:
        matching = [
            number
            for number, data in enumerate(resources)
            if any(date_holds(prefix, span(date), target) for target in spans(data))
        ]
        assert found(store, "Observation", mark, ("date", prefix + date)) == matching
    if len(sought) > 1:
        (one, first), (two, second) = sought[:2]
        both = expected(
            resources,
            lambda data: (
                any(date_holds(one, span(first), t) for t in spans(data))
                and any(date_holds(two, span(second), t) for t in spans(data))
            ),
        )
        assert found(store, "Observation", mark, ("date", one + first), ("date", two + second)) == both
        either = expected(
            resources,
            lambda data: any(
                date_holds(one, span(first), t) or date_holds(two, span(second), t) for t in spans(data)
            ),
        )
        assert found(store, "Observation", mark, ("date", f"{one}{first},{two}{second}")) == either


# ----------------------------------------------------------------------------------------- numbers, tokens

numbers = st.decimals(-20, 20, places=2).map(lambda value: format(value.normalize(), "f"))


@_SETTINGS
@given(
    st.lists(numbers, min_size=1, max_size=12),
    st.lists(st.tuples(st.sampled_from(PREFIXES), numbers), max_size=8),
)
def test_numbers(store: Store, values: list[str], sought: list[tuple[str, str]]) -> None:
    resources: list[Data] = [
        {"resourceType": "Observation", "valueQuantity": {"value": float(value)}} for value in values
    ]
    mark = stored(store, resources)
    for prefix, text in sought:
        number = Decimal(text)
        half = Decimal(5).scaleb(-1 - len(text.partition(".")[2]))
        tests = {
            "": lambda v, n=number, h=half: n - h <= v < n + h,
            "eq": lambda v, n=number, h=half: n - h <= v < n + h,
            "ne": lambda v, n=number, h=half: not n - h <= v < n + h,
            "gt": lambda v, n=number: v > n,
            "sa": lambda v, n=number: v > n,
            "lt": lambda v, n=number: v < n,
            "eb": lambda v, n=number: v < n,
            "ge": lambda v, n=number: v >= n,
            "le": lambda v, n=number: v <= n,
        }
        matching = [index for index, value in enumerate(values) if tests[prefix](Decimal(value))]
        assert found(store, "Observation", mark, ("value-quantity", prefix + text)) == matching


codes = st.sampled_from(["a", "b", "A", "a,b", "a|b", "å", "a\\b", "$"])
systems = st.sampled_from(["", "urn:1", "urn:2"])
codings = st.lists(st.tuples(systems, codes), max_size=3)


def escaped(text: str) -> str:
    for character in "\\,|$":
        text = text.replace(character, "\\" + character)
    return text


@_SETTINGS
@given(
    st.lists(codings, min_size=1, max_size=10), st.lists(st.tuples(systems, codes), min_size=1, max_size=3)
)
def test_tokens(store: Store, held: list[list[tuple[str, str]]], sought: list[tuple[str, str]]) -> None:
    resources = [
        {
            "resourceType": "Observation",
            "code": {"coding": [{"system": s, "code": c} if s else {"code": c} for s, c in own]}
            if own
            else {"text": "t"},
        }
        for own in held
    ]
    mark = stored(store, resources)
    by_code = ",".join(escaped(code) for _, code in sought)
    any_code = [n for n, own in enumerate(held) if {c for _, c in own} & {c for _, c in sought}]
    assert found(store, "Observation", mark, ("code", by_code)) == any_code
    not_code = [n for n in range(len(held)) if n not in any_code]
    assert found(store, "Observation", mark, ("code:not", by_code)) == not_code
    by_both = ",".join(f"{escaped(system)}|{escaped(code)}" for system, code in sought)
    both = [n for n, own in enumerate(held) if set(own) & set(sought)]
    assert found(store, "Observation", mark, ("code", by_both)) == both
    system = sought[0][0]
    if system:
        of_system = [n for n, own in enumerate(held) if any(s == system for s, _ in own)]
        assert found(store, "Observation", mark, ("code", f"{system}|")) == of_system


# -------------------------------------------------------------------------------------------------- paging


@_SETTINGS
@given(
    st.lists(st.tuples(st.sampled_from(["a", "b", "c", ""]), element_dates), min_size=3, max_size=20),
    st.sampled_from(["", "code", "-code", "date", "-date", "code,-date", "-_lastUpdated", "-_id"]),
    st.integers(1, 4),
    st.lists(st.sampled_from(["add", "change", "delete"]), max_size=6),
)
def test_no_unmodified_row_is_skipped_or_repeated(
    store: Store, rows: list[tuple[str, str]], sort: str, count: int, meanwhile: list[str]
) -> None:
    def data(code: str, date: str) -> Data:
        return {
            "resourceType": "Observation",
            "effectiveDateTime": date,
            **({"code": {"coding": [{"code": code}]}} if code else {}),
        }

    mark = stored(store, [data(code, date) for code, date in rows])
    pairs = [("_tag", mark), ("_count", str(count)), *([("_sort", sort)] if sort else [])]
    whole = store.search(Query.parse("Observation", [*pairs[:1], ("_count", "1000"), *pairs[2:]]))
    touched: set[str] = set()
    seen: list[str] = []
    cursor = ""
    events = iter(meanwhile)
    while True:
        page = store.search(Query.parse("Observation", [*pairs, *([("_cursor", cursor)] if cursor else [])]))
        seen += [version.id for version in page.matches]
        if page.next is None:
            break
        cursor = page.next
        event = next(events, "")
        number = len(touched) % len(rows)
        document = jsontext.from_data({**data("b", "2013-01-15"), "meta": {"tag": [{"code": mark}]}})
        if event == "add":
            store.write(lambda transaction, document=document: transaction.create(document))
        elif event == "change":
            touched.add(f"{mark}-{number}")
            store.write(lambda t, document=document, number=number: t.put(document, f"{mark}-{number}"))
        elif event == "delete":
            touched.add(f"{mark}-{number}")
            store.write(lambda t, number=number: t.delete("Observation", f"{mark}-{number}"))
    before = [version.id for version in whole.matches]
    unmodified = [id for id in before if id not in touched]
    assert [id for id in seen if id in unmodified] == unmodified
