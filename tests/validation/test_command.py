"""`fhir-coprod validate` as a process: what it reads, prints and ends with."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest

from fhir_coprod import definitions, jsontext, validate
from fhir_coprod.cli import validate as command
from fhir_coprod.cli.common import Terminal
from fhir_coprod.files.finding import find
from fhir_coprod.outcome import Outcome
from fhir_coprod.validation import bulk, inputs
from fhir_coprod.validation.bulk import Checked
from fhir_coprod.validation.inputs import Input
from tests import programs
from tests.validation.slicing_package import BASE, CASES, PROFILES

GOOD: dict[str, Any] = {
    "resourceType": "Patient",
    "id": "good",
    "text": {"status": "generated", "div": '<div xmlns="http://www.w3.org/1999/xhtml">x</div>'},
}
BAD: dict[str, Any] = {**GOOD, "id": "bad", "gender": "x"}


def run(*arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[str]:
    return programs.run("fhir_coprod", "validate", *arguments, input=stdin)


def write(path: Path, *resources: dict[str, Any]) -> str:
    path.write_bytes(b"\n".join(jsontext.encode(resource) for resource in resources))
    return str(path)


def test_a_wrong_resource_is_explained_and_ends_with_1(tmp_path: Path) -> None:
    done = run(write(tmp_path / "two.ndjson", GOOD, BAD))
    said = done.stdout
    assert done.returncode == 1
    assert "two.ndjson:2  Patient/bad" in said
    assert "Patient.gender: The code 'x' is not in the required value set" in said
    assert said.endswith("2 resources: 1 valid, 1 not valid\n")
    assert done.stderr == ""


def test_json_is_one_outcome_per_resource_in_order(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    write(folder / "a.json", BAD)
    write(folder / "b.ndjson", GOOD, BAD)
    (folder / "package.json").write_text("{}")
    done = run(str(folder), "--format", "json")
    outcomes = json.loads(done.stdout)
    assert [o["resourceType"] for o in outcomes] == ["OperationOutcome"] * 3
    assert [o["issue"][0]["severity"] for o in outcomes] == ["error", "information", "error"]
    url = "http://hl7.org/fhir/StructureDefinition/operationoutcome-"
    files = [o["extension"] for o in outcomes]
    names = [str(folder / name) for name in ("a.json", "b.ndjson", "b.ndjson")]
    assert files == [[{"url": f"{url}file", "valueString": name}] for name in names]
    lines = [o["issue"][0].get("extension") for o in outcomes]
    assert lines == [None, *([{"url": f"{url}issue-line", "valueInteger": n}] for n in (1, 2))]
    assert all(validate(outcome) for outcome in outcomes)
    assert done.returncode == 1


def test_good_resources_from_standard_input_end_with_0() -> None:
    done = run("-", "--json", stdin=json.dumps(GOOD, indent=2).encode())
    assert len(json.loads(done.stdout)) == 1
    assert done.returncode == 0


def test_somebody_elses_package_is_used(tmp_path: Path) -> None:
    package = tmp_path / "elsewhere.tgz"
    with tarfile.open(package, "w:gz") as archive:
        for profile in [{"name": "elsewhere", "version": "1.0.0"}, *PROFILES]:
            content = json.dumps(profile).encode()
            name = f"StructureDefinition-{profile['id']}" if "id" in profile else "package"
            entry = tarfile.TarInfo(f"package/{name}.json")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    cases = [c for c in CASES if c[1] == "by-value"]
    file = write(tmp_path / "patients.ndjson", *(c[2] for c in cases))
    done = run(file, "--package", str(package), "--profile", f"{BASE}by-value", "--format", "json")
    severities = [[i["severity"] for i in o["issue"]] for o in json.loads(done.stdout)]
    assert ["error" not in s for s in severities] == [c[3] for c in cases]
    assert done.returncode == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nowhere.json",), "no such file"),
        (("-", "--profile", "http://x.org/none"), "is not known"),
        (("-", "--package", "nowhere.tgz"), "cannot be read"),
        ((), "Missing argument"),
    ],
)
def test_wrong_use_ends_with_2_and_a_sentence(arguments: tuple[str, ...], words: str) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert words in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"", "it is empty"),
        (b" \n", "it is empty"),
        (b"\xff\xfe{\x00", "UTF-16"),
        (b'{"resourceType":"Pati\xe9nt"}', "UTF-8"),
        (b"<Patient/>", "only JSON is read"),
        (b"\x1f\x8b\x08\x00x", "gzip"),
        (b'[{"resourceType":"Patient"}]', "several as a Bundle"),
        (b'{"resourceType":"Patient"', "not valid JSON"),
        (b'{"resourceType":"Patient","id":"a","id":"b"}', "occurs twice"),
        (b'{"resourceType":"Patients"}', "no resource type of FHIR R4"),
        (b'{"id":"x"}', "`resourceType` is missing"),
    ],
)
def test_what_is_no_resource_is_told_with_what_to_do(tmp_path: Path, raw: bytes, words: str) -> None:
    file = tmp_path / "given.json"
    file.write_bytes(raw)
    (checked,) = bulk.check(inputs.sources(find([file]), io.BytesIO()), None, ())
    assert [issue.is_error for issue in checked.outcome] == [True]
    assert words in checked.outcome.errors[0].message


def test_nothing_to_check_is_no_success(tmp_path: Path) -> None:
    (tmp_path / "empty.ndjson").write_bytes(b"\n")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "notes.txt").write_text("x")
    told = {"empty.ndjson": "no resource in what was given", "folder": "holds no file ending"}
    for name, words in told.items():
        done = run(str(tmp_path / name))
        assert done.returncode == 2
        assert words in done.stderr


def test_a_broken_package_is_told(tmp_path: Path) -> None:
    package = tmp_path / "broken.tgz"
    package.write_bytes(b"\x1f\x8bnothing")
    done = run("-", "--package", str(package), stdin=jsontext.encode(GOOD))
    assert (done.returncode, done.stdout) == (2, "")
    assert "cannot be read as a FHIR package" in done.stderr


def _profile(**members: Any) -> dict[str, Any]:
    return {
        **{"resourceType": "StructureDefinition", "id": "x", "url": "http://x.org/p", "name": "X"},
        **{"status": "active", "kind": "resource", "abstract": False, "type": "Patient"},
        **{"derivation": "constraint", "baseDefinition": "http://hl7.org/fhir/StructureDefinition/Patient"},
        **members,
    }


ROOT: dict[str, Any] = {"id": "Patient", "path": "Patient"}
GENDER: dict[str, Any] = {"id": "Patient.gender", "path": "Patient.gender", "type": [{"code": "code"}]}
BOUND = {**GENDER, "binding": {"strength": "required", "valueSet": "http://x.org/vs"}}


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({".index.json": b"{oops"}, ".index.json is malformed"),
        ({".index.json": {"files": [{"id": "x"}]}}, ".index.json is malformed"),
        ({"a.json": _profile()}, "has no snapshot"),
        ({"a.json": _profile(snapshot={"element": [{"id": "Patient"}]})}, "not as R4 has it"),
        ({"a.json": _profile(snapshot={"element": "none"})}, "not as R4 has it"),
        ({"a.json": _profile(type="Foo", snapshot={"element": [{"path": "Foo"}]})}, "not as R4 has it"),
        (
            {
                "a.json": _profile(snapshot={"element": [ROOT, BOUND]}),
                "b.json": {"resourceType": "ValueSet", "url": "http://x.org/vs", "compose": {"include": "x"}},
            },
            "The ValueSet http://x.org/vs cannot be used",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_malformed_definition_of_a_package_is_named(
    tmp_path: Path, files: dict[str, Any], words: str
) -> None:
    folder = tmp_path / "package"
    folder.mkdir()
    for name, content in {"package.json": {"name": "p"}, **files}.items():
        (folder / name).write_bytes(content if isinstance(content, bytes) else jsontext.encode(content))
    done = run("-", "--package", str(folder), "--profile", "http://x.org/p", stdin=jsontext.encode(GOOD))
    told = done.stderr
    assert (done.returncode, done.stdout) == (2, ""), told
    assert words in told
    assert "fault in the program" not in told


def test_a_package_with_only_a_differential_checks_what_claims_its_profile(tmp_path: Path) -> None:
    folder = tmp_path / "package"
    folder.mkdir()
    named = {"id": "Patient.name", "path": "Patient.name", "min": 1}
    (folder / "a.json").write_bytes(jsontext.encode(_profile(differential={"element": [named]})))
    claims = {**GOOD, "meta": {"profile": ["http://x.org/p"]}}
    for profile in ((), ("--profile", "http://x.org/p")):
        done = run("-", "--package", str(folder), *profile, stdin=jsontext.encode(claims))
        assert "Patient: `name` is missing; Patient.name has cardinality 1..*." in done.stdout
        assert (done.returncode, done.stderr) == (1, "")


def test_a_rule_that_cannot_be_checked_is_told(tmp_path: Path) -> None:
    rule = {"key": "x-1", "severity": "error", "human": "It is so", "expression": "name.foo(("}
    folder = tmp_path / "package"
    folder.mkdir()
    profile = _profile(snapshot={"element": [{**ROOT, "constraint": [rule]}]})
    (folder / "a.json").write_bytes(jsontext.encode(profile))
    done = run("-", "--package", str(folder), "--profile", "http://x.org/p", stdin=jsontext.encode(GOOD))
    assert "unchecked Patient: The rule x-1 cannot be checked here: It is so" in done.stdout
    assert done.stdout.endswith("1 resource: 1 valid\n")
    assert done.returncode == 0


def test_memory_does_not_grow_with_the_input(tmp_path: Path) -> None:
    code = (
        "import io, resource, sys\n"
        "from fhir_coprod.files.finding import find\n"
        "from fhir_coprod.validation import bulk, inputs\n"
        "sources = inputs.sources(find(sys.argv[1:]), io.BytesIO())\n"
        "for _ in bulk.check(sources, None, (), alone=100): pass\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)\n"
    )
    peaks = []
    for number in (100, 3500):  # 1 MB and 35 MB
        with (tmp_path / "many.ndjson").open("wb") as out:
            for n in range(number):
                one = {**(BAD if n % 5 == 0 else GOOD), "id": f"p{n}", "name": [{"text": f"{n:010}" * 1000}]}
                out.write(jsontext.encode(one) + b"\n")
        command = [sys.executable, "-c", code, str(tmp_path / "many.ndjson")]
        peaks.append(int(subprocess.run(command, capture_output=True, check=True).stdout))
    assert peaks[1] - peaks[0] < 16, peaks


def test_several_processes_answer_in_order() -> None:
    sources = [Input(str(n), jsontext.encode(BAD if n % 3 == 0 else GOOD)) for n in range(450)]
    checked = list(bulk._in_parallel(iter(sources), None, (), False, 2))
    assert [c.source.place for c in checked] == [s.place for s in sources]
    assert [bool(c.outcome) for c in checked] == [n % 3 != 0 for n in range(450)]
    assert all(isinstance(c.outcome, Outcome) for c in checked)


def test_what_takes_long_is_handed_on_to_other_processes_and_loses_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bulk, "LOOK", 100)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    sources = [Input("x", jsontext.encode(BAD if n % 3 == 0 else GOOD), n) for n in range(450)]
    here = list(bulk.check(sources, None, (), alone=100))
    assert [one.source.line for one in here] == list(range(450))
    assert list(bulk.check(iter(sources), None, (), alone=0)) == here


def test_on_a_terminal_the_findings_have_colours_and_the_bar_stays_below(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    screen = io.StringIO()
    terminal = Terminal(
        file=screen, force_terminal=True, color_system="standard", width=40, _environ={"TERM": "xterm"}
    )
    monkeypatch.setattr(command, "stdout", terminal)
    found = [Checked(Input("a.json", b"", taken=5), "Patient/bad", validate(BAD)) for _ in range(2)]
    assert command._as_text(command._progress(iter(found), 10, command.Format.text), 0) == (2, 2)
    shown = screen.getvalue()
    assert "\x1b[31merror   \x1b[0m Patient.gender: The code" in shown
    assert re.search(
        r"validating \S.*100%.*\n\x1b\[\?25h.*2 resources: 0 valid, 2 not valid\n$", shown, re.DOTALL
    )
    # Whatever is printed begins a line of its own: the bar is drawn anew below it.
    assert len(re.findall(r"(?:^|\n|\x1b\[2K|\r)\x1b\[1ma\.json  Patient/bad\x1b\[0m\n", shown)) == 2


@pytest.mark.parametrize(("format", "kind"), [("json", "xterm"), ("text", "dumb")])
def test_no_bar_among_json_or_where_it_cannot_be_erased(
    monkeypatch: pytest.MonkeyPatch, format: str, kind: str
) -> None:
    screen = io.StringIO()
    terminal = Terminal(file=screen, force_terminal=True, width=40, _environ={"TERM": kind})
    monkeypatch.setattr(command, "stdout", terminal)
    found = [Checked(Input("a.json", b"", taken=5), "Patient/bad", validate(BAD)) for _ in range(2)]
    assert list(command._progress(iter(found), 10, command.Format(format))) == found
    assert screen.getvalue() == ""


def test_the_examples_of_the_package_are_valid(tmp_path: Path) -> None:
    done = run(write(tmp_path / "examples.ndjson", *definitions.examples()))
    assert done.returncode == 0, done.stdout
