"""Policy files as people write them: what is wrong is said, with the file and what to write."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from fhir_coprod.errors import ConfigError
from fhir_coprod.settings import SiteSettings
from fhir_coprod.watch import assess
from fhir_coprod.watch.record.model import Request, RequestState
from fhir_coprod.watch.rules import policies
from fhir_coprod.watch.rules.calendar import Span
from fhir_coprod.watch.rules.codes import Rule, Stage
from tests.watch.telling import read

OURS = """
extends = "default"
name = "ours"
title = "Ours"
version = "1"
valid_from = 2026-01-01
source = "the clinic"
"""


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("extends = [", "not valid TOML"),
        ("extends = 5", "names another policy, in quotes"),
        (OURS.replace("2026-01-01", '"x"'), "'x' is not a day"),
        (OURS + "[priority.urgent]\nfactor = -5", "factor -5 is not above 0"),
        (OURS + "[priority.urgent]\nfactor = 1e300", "at most 100"),
        (OURS + "[priority.urgent]\nfactor = inf", "at most 100"),
        (OURS + "[priority.urgent]\nfactor = nan", "not above 0"),
        (OURS + '[feeds]\nbehind_after = "0 d"', "is too short"),
        (OURS + "[alerts]\ndigest_over = -1", "is not a whole number"),
        (OURS + "[alerts]\ndigest_over = 1e400", "is not a whole number"),
        (OURS + "[alerts]\nladder = []", "name at least one"),
        (
            OURS + '[[guarantee]]\nname = "g"\nwithin = "90 d"\nvalid_from = "soon"',
            "'soon' is not a day",
        ),
        (OURS + '[pauses]\nstops = ["undecidet"]', "'undecidet' is no rule"),
        (OURS + '[pauses]\nreason = ["x"]', "unknown key 'reason' in pauses; known: reasons, stops"),
        (OURS + "[alerts]\ndigest = 3", "unknown key 'digest' in alerts"),
        (OURS + "[priority.urgent]\nfactors = 0.5", "unknown key 'factors' in priority.urgent"),
        (OURS + "[priority.now]\nfactor = 0.5", "unknown key 'now' in priority"),
        (OURS + '[[guarantee]]\nname = "g"\ntill = "seen"', "unknown key 'till' in guarantee"),
        (OURS + '[[override]]\nclocks = {}\nunit = "x"', "unknown key 'unit' in override"),
        (OURS + '[clocks]\nunacknowledged = "5 days"', "write 5 wd, 14 d, 18 w or 24 h"),
    ],
)
def test_a_mistake_in_a_policy_is_a_sentence_with_its_file(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "ours.toml"
    file.write_text(text)
    with pytest.raises(ConfigError) as error:
        policies.load(str(file))
    assert said in str(error.value)
    assert str(file) in str(error.value)


def test_a_policy_extends_one_that_lies_beside_it_wherever_we_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "region.toml").write_text(OURS + '[clocks]\nunacknowledged = "7 wd"\n')
    (tmp_path / "clinic.toml").write_text('extends = "region.toml"\nname = "clinic"\n')
    monkeypatch.chdir("/")
    clinic = policies.load(str(tmp_path / "clinic.toml"))
    assert str(clinic.clocks["routine"][policies.Rule("unacknowledged")]) == "7 wd"


MONDAY = datetime(2026, 3, 2, 9, tzinfo=UTC)


def request(**own: Any) -> Request:
    basic: dict[str, Any] = {
        "id": "ServiceRequest/r",
        "patient": "Patient/p",
        "authored": MONDAY,
        "states": (RequestState(MONDAY, "active"),),
    }
    return Request(**basic | own)


def ours(folder: Path, text: str = "", **site: str) -> policies.Policy:
    file = folder / "ours.toml"
    file.write_text(OURS + text)
    return policies.load(str(file), SiteSettings(**site) if site else None)


@pytest.mark.parametrize(
    ("priority", "undecided", "unscheduled"),
    [
        ("routine", "5 wd", "10 wd"),
        ("urgent", "3 wd", "5 wd"),
        ("asap", "30 h", "60 h"),
        ("stat", "12 h", "12 h"),
        ("of-the-site", "5 wd", "10 wd"),
    ],
)
def test_each_priority_has_its_numbers(priority: str, undecided: str, unscheduled: str) -> None:
    clocks = policies.load("default").clocks_for(request(priority=priority), ())
    assert (str(clocks[Rule.UNDECIDED]), str(clocks[Rule.UNSCHEDULED])) == (undecided, unscheduled)


def test_at_asap_no_wait_is_below_the_least() -> None:
    policy = policies.load("default")
    assert str(policy.scaled(Span(1, "wd"), "asap")) == "24 h"
    assert str(policy.scaled(Span(5, "wd"), "asap")) == "30 h"


OVERRIDES = """
[[override]]
specialty = "spine"
clocks = { undecided = "2 wd" }
[[override]]
specialty = "urn:x|hand"
department = "Organization/ortho"
clocks = { undecided = "4 wd" }
[[override]]
priority = "urgent"
clocks = { unscheduled = "1 wd" }
"""


@pytest.mark.parametrize(
    ("own", "departments", "undecided", "unscheduled"),
    [
        ({}, (), "5 wd", "10 wd"),
        ({"specialties": ("urn:y|spine",)}, (), "2 wd", "10 wd"),
        ({"specialties": ("spine",)}, (), "2 wd", "10 wd"),
        ({"specialties": ("urn:x|hand",)}, (), "5 wd", "10 wd"),
        ({"specialties": ("urn:x|hand",)}, ("Organization/ortho",), "4 wd", "10 wd"),
        ({"specialties": ("urn:y|hand",)}, ("Organization/ortho",), "5 wd", "10 wd"),
        ({"priority": "urgent"}, (), "3 wd", "1 wd"),
        ({"priority": "urgent", "specialties": ("spine",)}, (), "1 wd", "1 wd"),
    ],
)
def test_every_condition_of_a_site_s_own_number_must_hold(
    tmp_path: Path, own: dict[str, Any], departments: tuple[str, ...], undecided: str, unscheduled: str
) -> None:
    clocks = ours(tmp_path, OVERRIDES).clocks_for(request(**own), departments)
    assert (str(clocks[Rule.UNDECIDED]), str(clocks[Rule.UNSCHEDULED])) == (undecided, unscheduled)


GUARANTEES = """
[[guarantee]]
name = "for all"
within = "90 d"
[[guarantee]]
name = "spine"
within = "3 w"
until = "accepted"
specialties = ["spine"]
[[guarantee]]
name = "off"
within = "1 d"
enabled = false
[[guarantee]]
name = "in March"
within = "60 d"
valid_from = 2026-03-02
valid_until = 2026-03-31
"""


@pytest.mark.parametrize(
    ("own", "promised"),
    [
        ({}, ["for all", "in March"]),
        ({"authored": datetime(2026, 3, 1, 23, 59, tzinfo=UTC)}, ["for all"]),
        ({"authored": datetime(2026, 3, 31, 23, 59, tzinfo=UTC)}, ["for all", "in March"]),
        ({"authored": datetime(2026, 4, 1, tzinfo=UTC)}, ["for all"]),
        ({"specialties": ("urn:x|spine",)}, ["spine"]),
        ({"specialties": ("urn:x|hand",)}, ["for all", "in March"]),
    ],
)
def test_a_promise_holds_in_its_days_and_for_its_specialty(
    tmp_path: Path, own: dict[str, Any], promised: list[str]
) -> None:
    policy = ours(tmp_path, GUARANTEES)
    assert [one.name for one in policy.guarantees_for(request(**own))] == promised
    assert {one.name: one.until for one in policy.guarantees} == {
        "for all": Stage.SEEN,
        "spine": Stage.ACCEPTED,
        "off": Stage.SEEN,
        "in March": Stage.SEEN,
    }
    assert policies.load("default").guarantees_for(request(**own)) == ()


def test_a_table_of_ours_changes_its_keys_and_keeps_the_others_and_a_list_replaces(tmp_path: Path) -> None:
    base = policies.load("default")
    policy = ours(tmp_path, '[alerts]\ndigest_over = 0\n[codes]\nno-result-expected = ["x"]\n')
    assert policy.alerts.digest_over == 0
    assert policy.alerts.ladder == base.alerts.ladder
    assert policy.no_result_expected == {"x"}
    assert policy.awaiting_information == base.awaiting_information == {"awaiting-information"}
    assert policy.label == "ours 1"
    assert (policy.title, policy.source, policy.valid_from) == ("Ours", "the clinic", date(2026, 1, 1))
    assert policy.feeds_behind_after == timedelta(days=2)
    assert policy.pulled_since(MONDAY) == MONDAY - timedelta(days=2)


@pytest.mark.parametrize(
    ("severity", "priority", "days"),
    [("high", "routine", 1), ("moderate", "routine", 3), ("low", "urgent", 3), ("low", "routine", 7)],
)
def test_who_has_an_alert_has_as_long_as_its_severity_and_priority_say(
    severity: policies.Severity, priority: str, days: int
) -> None:
    by = policies.load("default").act_by(severity, priority, MONDAY)
    assert by == MONDAY.replace(hour=0) + timedelta(days=days + 1)


@pytest.mark.parametrize(
    ("of_policy", "of_site", "country", "region"),
    [
        ("", {}, "", ""),
        ("SE", {}, "SE", ""),
        ("DE", {"country": "SE"}, "SE", ""),
        ("DE", {"country": "de"}, "de", "BY"),
        ("DE", {"region": "BE"}, "DE", "BE"),
        ("DE", {}, "DE", "BY"),
        ("", {"country": "DE", "region": "BE"}, "DE", "BE"),
    ],
)
def test_the_site_s_country_comes_before_the_policy_s_and_a_region_belongs_to_its_country(
    tmp_path: Path, of_policy: str, of_site: dict[str, str], country: str, region: str
) -> None:
    file = tmp_path / "ours.toml"
    own = "BY" if of_policy == "DE" else ""
    file.write_text(OURS + f'country = "{of_policy}"\nregion = "{own}"\n')
    calendar = policies.load(str(file), SiteSettings(timezone="Europe/Berlin", **of_site)).calendar
    assert (calendar.country, calendar.region, calendar.zone.key) == (country, region, "Europe/Berlin")
    assert policies.load(str(file)).calendar.zone.key == "UTC"


def test_a_fingerprint_changes_with_all_that_is_judged_by_and_with_nothing_else(tmp_path: Path) -> None:
    prints = [
        ours(tmp_path / name, text, **site).fingerprint
        for name, text, site in (
            ("a", "", {}),
            ("b", "[clocks]\nundecided = '6 wd'", {}),
            ("c", "[codes]\nno-result-expected = ['x', 'y']", {}),
            ("d", GUARANTEES, {}),
            ("e", OVERRIDES, {}),
            ("f", "", {"timezone": "Europe/Berlin"}),
            ("g", "", {"country": "SE"}),
            ("h", "", {"country": "DE"}),
            ("i", "", {"country": "DE", "region": "BY"}),
            ("j", "[severity]\nundecided = 'low'", {}),
        )
        if not (tmp_path / name).mkdir()
    ]
    assert len(set(prints)) == len(prints)
    (tmp_path / "again").mkdir()
    same = ours(tmp_path / "again", "[codes]\nno-result-expected = ['y', 'x']\n")
    assert same.fingerprint == prints[2]


@pytest.mark.parametrize(
    ("codes", "named"),
    [((), False), (("x",), True), (("urn:a|x",), True), (("urn:a|y",), False), (("y", "x"), True)],
)
def test_a_code_may_be_named_without_its_system(codes: tuple[str, ...], named: bool) -> None:
    assert policies.any_named(frozenset({"x", "urn:b|z"}), codes) is named
    assert policies.any_named(frozenset({"urn:b|z"}), ("urn:b|z",))
    assert not policies.any_named(frozenset({"urn:b|z"}), ("z", "urn:c|z"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (OURS + "enabled = false", "is switched off"),
        (OURS + 'colour = "red"', "unknown key 'colour'; known:"),
        (OURS + '[owners]\nundecided = "nobody"', "'nobody' is not one of requester, receiver"),
        (OURS + '[severity]\nundecided = "awful"', "'awful' is not one of high, moderate, low"),
        (OURS + '[[override]]\npriority = "now"\nclocks = {}', "'now' is no priority"),
        (OURS + '[[guarantee]]\nwithin = "1 d"', "missing or malformed entry ('name')"),
        (OURS + '[[guarantee]]\nname = "x"\nwithin = "1 d"\nuntil = "happy"', "missing or malformed"),
        (OURS + "[alerts]\nladder = [1]", "name at least one"),
        (OURS + "[alerts]\nladder = 'x'", "name at least one"),
        (OURS + "[alerts]\ndigest_over = true", "is not a whole number; write 0 or more"),
        (OURS + "[priority.urgent]\nfactor = 0", "factor 0 is not above 0"),
        (OURS + "[priority.urgent]\nfactor = 100.5", "at most 100"),
        (OURS.replace("2026-01-01", "2026-01-01T00:00:00"), "is not a day; write 2026-01-01"),
        (OURS.replace('"default"', '"nothing"'), "there is no policy 'nothing'; use one of"),
        (OURS.replace('"default"', '"ours.toml"'), "extends itself through"),
        (OURS.replace('"default"', '"other.toml"'), "cannot be read"),
    ],
)
def test_what_stands_in_a_policy_and_cannot_be_meant_is_refused(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "ours.toml"
    file.write_text(text)
    with pytest.raises(ConfigError) as error:
        policies.load(str(file))
    assert said in str(error.value)


@pytest.mark.parametrize("text", ["[priority.urgent]\nfactor = 100", '[feeds]\nbehind_after = "1 d"'])
def test_what_is_just_within_its_limits_is_taken(tmp_path: Path, text: str) -> None:
    assert ours(tmp_path, text).name == "ours"


def test_every_policy_of_the_package_is_known_by_name_and_loads() -> None:
    assert "default" in policies.names()
    assert list(policies.names()) == sorted(policies.names())
    for name in policies.names():
        with suppress(ConfigError):  # one that is switched off
            assert policies.load(name).name == name


def test_a_rule_to_which_a_policy_gives_no_time_is_not_claimed(tmp_path: Path) -> None:
    """A policy that extends no other need not name every rule."""
    file = tmp_path / "story.txt"
    file.write_text("# accepted\nreferral 01-05\ntask a: requested 01-05, accepted 01-06\nnow 03-01\n")
    (story,) = read(file)
    assert story.now is not None
    policy = story.policy()
    silent = {
        priority: {rule: span for rule, span in clocks.items() if rule is not Rule.UNSCHEDULED}
        for priority, clocks in policy.clocks.items()
    }
    found = [
        {stall.rule for stall in assess(story.facts(), each, story.now).stalls}
        for each in (policy, replace(policy, clocks=silent))
    ]
    assert found == [{Rule.UNSCHEDULED, Rule.PATIENT_NOT_INFORMED}, {Rule.PATIENT_NOT_INFORMED}]
