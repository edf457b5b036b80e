"""Validation in this process, beside parsing with fhir.resources, and beside HL7's validator.

Each turn takes the next of many resources that differ in their ids and narratives, so that nothing is
remembered whole. Refusing keys that are given twice is measured apart: neither reference does it.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from fhir.resources.R4B import get_fhir_model_class

from benchmarks.frame import Pair, for_seconds
from benchmarks.sample import care_plan
from fhir_coprod import definitions, jsontext
from fhir_coprod.validation.validator import default
from tests.peers import hl7

SECONDS = 0.7
VARIANTS = 200
STEP = 50
PROFILE = definitions.PROFILE + "coproduction-careplan"


def pairs() -> Iterator[Pair]:
    plain = _variants(care_plan())
    wrong = care_plan()
    wrong["status"] = "running"
    wrong["activity"][1]["detail"]["code"] = "exercise"
    example = next(e for e in definitions.examples() if PROFILE in e.get("meta", {}).get("profile", ()))
    ours = _variants(example)
    size = len(plain[0]) / 1000
    yield _beside_parsing(f"a CarePlan of {size:.1f} kB: decoding and base R4", plain, _decode_and_check)
    yield _beside_parsing(
        "our example of coproduction-careplan: decoding, base R4 and its profile", ours, _decode_and_check
    )
    yield _beside_parsing("the CarePlan with keys given twice refused, too", plain, default().validate)
    yield _beside_parsing("keys given twice refused, nothing else", plain, jsontext.parse)
    yield _beside_parsing("two errors, each explained", _variants(wrong), _decode_and_check, parsed=plain)
    if hl7.PEER.find() is not None:
        # One processor on both sides: the validator's own threads are for its compiler and collector.
        with hl7.Hl7Validator([]) as peer:
            theirs = _stepping(plain, lambda raw: next(peer.verdicts([raw])))
            yield Pair(
                "the CarePlan: decoding and base R4",
                "validations",
                for_seconds(SECONDS, _stepping(plain, _decode_and_check)),
                f"HL7's validator (HAPI FHIR {hl7.PEER.find()}), warmed up",
                for_seconds(2 * SECONDS, theirs),
            )


def _variants(resource: dict[str, Any]) -> list[bytes]:
    """The same resource with other ids, identifiers and words in its narrative."""
    found = []
    for number in range(VARIANTS):
        text = json.dumps(resource, ensure_ascii=False, separators=(",", ":"))
        variant = json.loads(text)
        variant["id"] = f"plan-{number}"
        if "text" in variant:
            variant["text"]["div"] = variant["text"]["div"].replace("</", f" {number}</", 1)
        for identifier in variant.get("identifier", ()):
            identifier["value"] = f"{number:08}"
        raw = jsontext.encode(variant)
        assert default().validate(raw) or not default().check(json.loads(text))
        found.append(raw)
    return found


def _decode_and_check(raw: bytes) -> object:
    return default().check(jsontext.decode(raw))


def _beside_parsing(
    what: str, raws: Sequence[bytes], work: Callable[[bytes], object], parsed: Sequence[bytes] | None = None
) -> Pair:
    reference = parsed or raws
    model = get_fhir_model_class(json.loads(reference[0])["resourceType"])
    return Pair(
        what,
        "validations",
        for_seconds(SECONDS, _stepping(raws, work)),
        "fhir.resources parse" if parsed is None else "fhir.resources parse, valid",
        for_seconds(SECONDS, _stepping(reference, model.model_validate_json)),
    )


def _stepping(raws: Sequence[bytes], work: Callable[[bytes], object]) -> Callable[[], int]:
    turn = itertools.cycle(raws)

    def step() -> int:
        for raw in itertools.islice(turn, STEP):
            work(raw)
        return STEP

    return step
