"""Documents that nobody would send, judged one after the other within fixed time and memory.

    python -m tests.validation.fuzzing --count 100000

A process of its own, so that the limits are the operating system's: memory beyond what the warm validator
has, and processor time per document. Whatever breaks one ends the process, and the document is named.
"""

from __future__ import annotations

import argparse
import json
import resource
import signal
import sys
from collections import Counter
from collections.abc import Callable
from random import Random
from types import FrameType
from typing import Any

from fhir_coprod import definitions, jsontext
from fhir_coprod.errors import NotJson
from fhir_coprod.outcome import Outcome
from fhir_coprod.validation.validator import Validator, default

MEMORY = 384 * 2**20
"""Bytes that all documents together may take beyond the warm validator; the largest are of 10 MB."""
SECONDS = 20
"""Processor time for one document, parsed and judged by both tiers, on a slow and busy machine."""
OUTCOME = 2 * 2**20
"""Characters that an outcome may have: it never quotes what it was given in full."""
MEGABYTES = 10

Fuzz = Callable[[bytes, Random], bytes]

_PIECES = (
    *(b"{", b"}", b"[", b"]", b'"', b":", b",", b"null", b"true", b"1e999", b"-0", b"NaN", b"\\u0000"),
    *(b"\\ud800", b"\xff", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\x00", b"\\", b"//", b"\\u00e5"),
    *(b'"resourceType":"Patient",', b'"id":"x",', b'"extension":[{}],', b'"_status":null,'),
    *(b"[" * 50, b'{"a":' * 70, b"9" * 400, b'"' + b"x" * 10**5),
)


_DEEP = ((b"[", b"]"), (b'{"extension":[', b"]}"), (b'{"a":', b"}"), (b'{"item":[', b"]}"))
_CHARACTERS = (
    *(b"\\u0000", b"\\ud83d", b"\\ude00", b"\\ude00\\ud83d", b"\\uffff", b"\\u001f", b"\\u200b", b"\\u202e"),
    *(b"\x00", b"\x1f", b"\xff", b"\xc0\x80", b"\xed\xa0\xbd", b"\xf4\x90\x80\x80", "\u2028😀".encode()),
)
_STARTS = (b"", b"urn:oid:", b"http://", b"Patient/", b"#", b'<div xmlns=\\"http://www.w3.org/1999/xhtml\\">')
_UNITS = (
    *(
        b"x",
        b" ",
        b"a ",
        b"1.",
        b"9",
        b"\\\\",
        b'\\"',
        b"\\u00e5",
        "😀".encode(),
        b"<p>",
        b"&amp;",
        b"#",
        b"/",
    ),
    *(b"urn:oid:1", b"http://x.org/", b"QUJD", b"2026-01-01"),
)
_ITEMS = (
    *(b"{}", b"null", b"1", b'"x"', b"[]", b'{"linkId":"1"}', b'{"coding":[{"code":"x"}]}'),
    *(b'{"reference":"#x"}', b'{"url":"http://x.org/e","valueString":"x"}'),
    b'{"resourceType":"Basic","id":"x","code":{"text":"x"}}',
)


def damaged(raw: bytes, random: Random) -> bytes:
    """Bytes cut out, put in, changed and moved."""
    text = bytearray(raw)
    for _ in range(random.randrange(1, 6)):
        at = random.randrange(len(text))
        match random.randrange(4):
            case 0:
                del text[at : at + random.randrange(1, 20)]
            case 1:
                text[at:at] = random.choice(_PIECES)
            case 2:
                text[at] = random.randrange(256)
            case _:
                other = random.randrange(len(text))
                text[at:at] = text[other : other + 30]
    return bytes(text)


def deep(raw: bytes, random: Random) -> bytes:
    """Nested just within, just beyond and far beyond what is allowed."""
    levels = random.choice((20, 60, 62, 64, 66, 500, 100_000))
    opening, closing = random.choice(_DEEP)
    middle = random.choice((b"1", b"{}", b'{"url":"http://x.org","valueBoolean":true}'))
    return _with_value(raw, random, opening * levels + middle + closing * levels)


def number(raw: bytes, random: Random) -> bytes:
    """Numbers that no machine type holds."""
    digits = b"9" * random.choice((20, 309, 4301, 100_000))
    found = (
        *(digits, b"-" + digits, digits + b".5", b"0." + digits, b"1e" + digits[:20], b"1E400", b"-1e-400"),
        *(b"-0", b"-0.0", b"1e5", b"0e0", b"2147483648", b"1e308"),
    )
    return _with_value(raw, random, random.choice(found))


def character(raw: bytes, random: Random) -> bytes:
    """NUL, surrogates without their other half, control characters, and what is no character at all."""
    before, after = random.choice((b"", b"a")), random.choice((b"", b"b"))
    return _with_value(raw, random, b'"' + before + random.choice(_CHARACTERS) + after + b'"')


def twin(raw: bytes, random: Random) -> bytes:
    """A key that stands twice, spelt alike or by escapes."""
    places = [at for at in range(len(raw)) if raw[at : at + 2] == b'{"']
    at = random.choice(places) + 1
    key = raw[at : raw.index(b'"', at + 1) + 1]
    if random.random() < 0.5:
        key = b'"' + b"".join(b"\\u%04x" % letter for letter in key[1:-1]) + b'"'
    return raw[:at] + key + random.choice((b":1,", b' : "x",', b":null,", b":{},")) + raw[at:]


def long(raw: bytes, random: Random) -> bytes:
    """A string of 10 MB."""
    unit, start = random.choice(_UNITS), random.choice(_STARTS)
    return _with_value(raw, random, b'"' + start + unit * (MEGABYTES * 10**6 // len(unit)) + b'"')


def many(raw: bytes, random: Random) -> bytes:
    """More items or members than anybody lists: some 2 MB of them."""
    item = random.choice(_ITEMS)
    if random.random() < 0.7:
        return _with_value(raw, random, b"[" + b",".join([item] * (2 * 10**6 // (len(item) + 1))) + b"]")
    members = b",".join(b'"m%d":%s' % (index, item) for index in range(2 * 10**6 // (len(item) + 8)))
    return _with_value(raw, random, b"{" + members + b"}")


def swapped(raw: bytes, random: Random) -> bytes:
    """One value in the place of another."""
    data = json.loads(raw)
    places = list(_places(data))
    owner, key = random.choice(places)
    other, name = random.choice(places)
    owner[key] = other[name]
    # A value that now holds itself would have no end.
    try:
        return json.dumps(data, separators=(",", ":")).encode()
    except (ValueError, RecursionError):
        return raw


KINDS: dict[str, tuple[Fuzz, float]] = {
    kind.__name__: (kind, share)
    for kind, share in (
        (damaged, 0.566),
        (swapped, 0.12),
        (number, 0.1),
        (character, 0.1),
        (twin, 0.08),
        (deep, 0.03),
        (long, 0.002),
        (many, 0.002),
    )
}
"""What is done to a document, and how often."""


def _with_value(raw: bytes, random: Random, value: bytes) -> bytes:
    """The document with another value somewhere, at a key that its type knows or one that it does not."""
    data = json.loads(raw)
    marker = "a value to be replaced"
    if random.random() < 0.2:
        data[random.choice(("extension", "contained", "surprise", "text", "meta", "entry", "item"))] = marker
    else:
        owner, key = random.choice(list(_places(data)))
        owner[key] = marker
    text = json.dumps(data, separators=(",", ":")).encode()
    return text.replace(json.dumps(marker).encode(), value, 1)


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Every place in a JSON value, as its owner and key or index."""
    found: list[tuple[Any, Any]] = []
    waiting = [value]
    while waiting:
        owner = waiting.pop()
        for key, held in owner.items() if isinstance(owner, dict) else enumerate(owner):
            found.append((owner, key))
            if isinstance(held, dict | list):
                waiting.append(held)
    return found


def judge(validator: Validator, raw: bytes) -> Outcome:
    """The outcome for a document; asserts what holds for every one of them."""
    outcome = validator.validate(raw)
    try:
        data = jsontext.parse(raw).data
    except NotJson:
        assert [issue.severity for issue in outcome] == ["fatal"]
    else:
        assert bool(outcome) == bool(validator.explain(data)), "the two tiers differ"
    size = sum(len(str(issue)) for issue in outcome)
    assert size <= OUTCOME, f"the outcome has {size} characters"
    return outcome


def run(count: int, seed: int, kinds: list[str]) -> Counter[tuple[str, str]]:
    """Judge so many documents within the limits; (kind, "valid", "not valid" or "no JSON") → number."""
    validator = default()
    seeds = [jsontext.encode(example) for example in definitions.examples()]
    for raw in seeds:
        judge(validator, raw)
    _limit_memory(MEMORY)
    signal.signal(signal.SIGPROF, _too_slow)
    random = Random(seed)
    seen: Counter[tuple[str, str]] = Counter()
    shares = [KINDS[kind][1] for kind in kinds]
    for number_ in range(count):
        kind = random.choices(kinds, shares)[0]
        raw = KINDS[kind][0](random.choice(seeds), random)
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        try:
            outcome = judge(validator, raw)
        except BaseException:
            named = f"document {number_} of seed {seed}, {kind}, {len(raw)} bytes"
            print(f"{named}: {raw[:2000]!r}", file=sys.stderr)
            raise
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
        fatal = any(issue.severity == "fatal" for issue in outcome)
        seen[kind, "valid" if outcome else "no JSON" if fatal else "not valid"] += 1
    return seen


def _limit_memory(more: int) -> None:
    with open("/proc/self/status") as status:
        data = next(int(line.split()[1]) for line in status if line.startswith("VmData:"))
    limit = data * 1024 + more
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


def _too_slow(number: int, frame: FrameType | None) -> None:
    raise TimeoutError(f"more than {SECONDS} s of processor time for one document")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.validation.fuzzing", description=__doc__)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kind", action="append", choices=list(KINDS), help="only these")
    arguments = parser.parse_args()
    seen = run(arguments.count, arguments.seed, arguments.kind or list(KINDS))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    counts = {f"{kind}: {answer}": number for (kind, answer), number in sorted(seen.items())}
    print(json.dumps({"peak_mb": peak, "seen": counts}))


if __name__ == "__main__":
    main()
