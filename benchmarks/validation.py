"""Measures validation in this process, against parsing with fhir.resources and against HL7's validator.

Each turn takes the next of many resources that differ in their ids and narratives, so that no whole resource
is remembered. The check for repeated keys is measured separately: neither reference has it.
"""

from __future__ import annotations

import copy
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from fhir.resources.R4B import get_fhir_model_class

from benchmarks.frame import Figure, Pair, for_seconds
from benchmarks.sample import care_plan
from fhir_coprod import definitions, jsontext
from fhir_coprod.validation.validator import default
from tests.peers import hl7

AREA = "validation"
SECONDS = 0.7
VARIANTS = 200
OBSERVATIONS = 30_000
"""In the file that the command validates."""
STEP = 50
WARM_UP = 600
"""Resources that HL7's validator judges before it is measured: Java compiles what is used often."""
TYPES = tuple(definitions.resource_types())
"""Whose first use is timed."""
PROFILE = definitions.PROFILE + "coproduction-careplan"
_OWN = Path(definitions.__file__).resolve().parent.parent / "_data" / "package"


def pairs() -> Iterator[Pair | Figure]:
    plain, ours = _variants(care_plan()), _variants(coproduced(care_plan()))
    example = next(e for e in definitions.examples() if PROFILE in e.get("meta", {}).get("profile", ()))
    base = f"a CarePlan of {len(plain[0]) / 1000:.1f} kB: decoding and base R4"
    profiled = f"one of {len(ours[0]) / 1000:.1f} kB: decoding, base R4, our profile with all its rules"
    yield _beside_parsing(base, plain, _decode_and_check, note="promised: at least 20")
    yield _beside_parsing(profiled, ours, _decode_and_check, note="promised: at least 8")
    yield _beside_parsing("the example of our package, the same", _variants(example), _decode_and_check)
    remarked = f"the base CarePlan with {REMARKS}"
    yield _beside_parsing(remarked, _variants(_remarked()), _decode_and_check, note="promised: at least 20")
    yield _beside_parsing("the base CarePlan with keys given twice refused, too", plain, default().validate)
    yield _beside_parsing("two errors, each explained", _variants(_wrong()), _decode_and_check, parsed=plain)
    if hl7.PEER.find() is not None:
        # One processor on both sides: the validator's own threads are for its compiler and collector.
        with hl7.Hl7Validator([_OWN]) as peer:
            for what, raws in ((base, plain), (profiled, ours)):
                for raw in itertools.islice(itertools.cycle(raws), WARM_UP):
                    next(peer.verdicts([raw]))
                yield _beside_hl7(what, raws, peer)
    with tempfile.TemporaryDirectory() as folder:
        yield _command_beside_calls(Path(folder) / "observations.ndjson")
    yield _cost_of_keys_given_twice(plain)
    yield _first_use()
    yield _import_of_profiles()
    yield _memory()


# ---------------------------------------------------------------------- what is validated


def coproduced(plan: dict[str, Any]) -> dict[str, Any]:
    """A plan of the same size as our profile wants it: goals, who agreed, activities with owners."""
    made = copy.deepcopy(plan)
    made["meta"] = {"profile": [PROFILE]}
    made["extension"] = [
        {"url": definitions.PROFILE + "coproduction-phase", "valueCode": "co-deliver"},
        _agreement("Patient/bench", "I want to try this before anything else, and see my sister by bicycle."),
        _agreement("PractitionerRole/physiotherapist", "It fits what we found, and what Mark wants to do."),
    ]
    made["goal"] = [{"reference": "Goal/bicycle"}, {"reference": "Goal/sleep"}]
    made["addresses"] = [{"reference": "Condition/back-pain"}]
    made["activity"] = [{"reference": {"reference": f"Task/exercise-{number}"}} for number in range(1, 9)]
    made["note"] += [
        {"time": f"2026-0{month}-05T10:20:00+01:00", "text": "We looked at the plan together and kept it."}
        for month in range(2, 6)
    ]
    return made


def _agreement(who: str, reason: str) -> dict[str, Any]:
    return {
        "url": definitions.PROFILE + "plan-agreement",
        "extension": [
            {"url": "who", "valueReference": {"reference": who}},
            {"url": "status", "valueCode": "agreed"},
            {"url": "when", "valueDateTime": "2026-01-05"},
            {"url": "reason", "valueString": reason},
        ],
    }


REMARKS = "an extension and a profile that are not known here"


def _remarked() -> dict[str, Any]:
    """The plan as an EHR may write it: right, with something to remark."""
    plan = care_plan()
    head = {
        "resourceType": plan["resourceType"],
        "meta": {"profile": ["https://ehr.example/fhir/StructureDefinition/plan"]},
        "text": plan["text"],
        "extension": [{"url": "https://ehr.example/fhir/ward", "valueString": "4 East"}],
    }
    return {**head, **plan, "meta": head["meta"]}


def _observation(number: int) -> dict[str, Any]:
    """A weight without narrative, so that there is something to print about it."""
    day = f"2026-{number % 12 + 1:02}-{number % 28 + 1:02}"
    vital = {"system": "http://terminology.hl7.org/CodeSystem/observation-category", "code": "vital-signs"}
    return {
        "resourceType": "Observation",
        "id": f"weight-{number}",
        "status": "final",
        "category": [{"coding": [vital]}],
        "code": {"coding": [{"system": "http://loinc.org", "code": "29463-7", "display": "Body weight"}]},
        "subject": {"reference": f"Patient/{number % 997}"},
        "effectiveDateTime": f"{day}T08:{number % 60:02}:00+01:00",
        "valueQuantity": {
            "value": 40 + number % 800 / 10,
            "unit": "kg",
            "system": "http://unitsofmeasure.org",
            "code": "kg",
        },
    }


def _wrong() -> dict[str, Any]:
    plan = care_plan()
    plan["status"] = "running"
    plan["activity"][1]["detail"]["code"] = "exercise"
    return plan


def _variants(resource: dict[str, Any]) -> list[bytes]:
    """The same resource with other ids, identifiers and words in its narrative."""
    found = []
    kind = {issue.severity for issue in default().check(resource)}
    for number in range(VARIANTS):
        variant = copy.deepcopy(resource)
        variant["id"] = f"plan-{number}"
        if "text" in variant:
            variant["text"]["div"] = variant["text"]["div"].replace("</", f" {number}</", 1)
        for identifier in variant.get("identifier", ()):
            identifier["value"] = f"{number:08}"
        raw = jsontext.encode(variant)
        assert {issue.severity for issue in default().validate(raw)} == kind
        found.append(raw)
    return found


# ---------------------------------------------------------------------- against others


def _decode_and_check(raw: bytes) -> object:
    return default().check(jsontext.decode(raw), decoded=True)


def _beside_parsing(
    what: str,
    raws: Sequence[bytes],
    work: Callable[[bytes], object],
    parsed: Sequence[bytes] | None = None,
    note: str = "",
) -> Pair:
    reference = parsed or raws
    model = get_fhir_model_class(json.loads(reference[0])["resourceType"])
    return Pair(
        what,
        "validations",
        for_seconds(SECONDS, _stepping(raws, work)),
        "fhir.resources parse" if parsed is None else "fhir.resources parse, valid",
        for_seconds(SECONDS, _stepping(reference, model.model_validate_json)),
        note,
    )


def _beside_hl7(what: str, raws: Sequence[bytes], peer: hl7.Hl7Validator) -> Pair:
    return Pair(
        what,
        "validations",
        for_seconds(SECONDS, _stepping(raws, _decode_and_check)),
        f"HL7's validator (HAPI FHIR {hl7.PEER.find()}), warmed up",
        for_seconds(2 * SECONDS, _stepping(raws, lambda raw: next(peer.verdicts([raw])))),
        "promised: at least 10",
    )


_CALLS = """
import sys
from fhir_coprod import validate
with open(sys.argv[1], "rb") as file:
    print(sum(not validate(line) for line in file))
"""


def _command_beside_calls(file: Path) -> Pair:
    """The command as people start it, beside a program of their own; both with what it takes to start."""
    file.write_bytes(b"\n".join(jsontext.encode(_observation(number)) for number in range(OBSERVATIONS)))
    return Pair(
        f"`fhir-coprod validate` on {OBSERVATIONS:,} Observations in NDJSON, a finding printed for each",
        "validations",
        _program("-m", "fhir_coprod", "validate", str(file)),
        "a Python program that calls validate for each line",
        _program("-c", _CALLS, str(file)),
        "promised: at least 0.5",
    )


def _program(*arguments: str) -> Callable[[], int]:
    def run() -> int:
        subprocess.run([sys.executable, *arguments], stdout=subprocess.DEVNULL, check=True, env=os.environ)
        return OBSERVATIONS

    return run


def _stepping(raws: Sequence[bytes], work: Callable[[bytes], object]) -> Callable[[], int]:
    turn = itertools.cycle(raws)

    def step() -> int:
        for raw in itertools.islice(turn, STEP):
            work(raw)
        return STEP

    return step


# ---------------------------------------------------------------------- alone
# Processor time, so that other work on this machine does not count.


def _cost_of_keys_given_twice(raws: Sequence[bytes]) -> Figure:
    differences = []
    for _ in range(9):
        whole, plain = _processor_time(jsontext.parse, raws), _processor_time(jsontext.decode, raws)
        differences.append((whole - plain) / len(raws) * 1e6)
    what = "refusing keys given twice (with NUL and extreme depth): what it adds to the base CarePlan"
    return Figure(AREA, what, statistics.median(differences), "µs", None, "median of 9 turns")


def _processor_time(work: Callable[[bytes], object], raws: Sequence[bytes]) -> float:
    started = time.process_time()
    for raw in raws:
        work(raw)
    return time.process_time() - started


_FIRST_USE = """
import os, sys, time
from fhir_coprod.validation.validator import default
raw = ('{"resourceType":"%s","id":"x"}' % sys.argv[1]).encode()
started = time.process_time()
default().validate(raw)
print(time.process_time() - started)
"""


def _first_use() -> Figure:
    """Of every type in a process of its own; the worst, in milliseconds."""
    times = {name: _in_a_new_process(_FIRST_USE, name) * 1000 for name in TYPES}
    worst = max(times, key=lambda name: times[name])
    median = statistics.median(times.values())
    what = f"first use of a type: the worst of {len(times)}, {worst}, in a new process for each"
    return Figure(AREA, what, times[worst], "ms", 150, f"median {median:.0f} ms")


def _import_of_profiles() -> Figure:
    code = "import time; t = time.process_time(); import fhir_coprod.profiles; print(time.process_time() - t)"
    times = [_in_a_new_process(code) * 1000 for _ in range(5)]
    return Figure(AREA, "import of fhir_coprod.profiles", statistics.median(times), "ms", 1000, "median of 5")


_MEMORY = """
import resource
from fhir_coprod import definitions
from fhir_coprod.validation.validator import default
def held():
    with open("/proc/self/status") as status:
        return int(next(line.split()[1] for line in status if line.startswith("VmRSS"))) / 1024
before = held()
for name in definitions.resource_types():
    default().validate({"resourceType": name, "id": "x"})
for name in definitions.registry().data_types:
    default().library.type_model(name)
print(held() - before)
"""


def _memory() -> Figure:
    added = _in_a_new_process(_MEMORY)
    what = f"memory with all {len(definitions.resource_types())} resource types and every data type compiled"
    return Figure(AREA, what, added, "MB", None, "resident, beyond the imported package")


def _in_a_new_process(code: str, *arguments: str) -> float:
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ)
    return float(done.stdout)
