"""Requests that ask for far more work than they are worth, and what they do to those who ask beside them.

`beside` sends an attack to a server process and measures an honest client meanwhile; whoever has another kind
of attack gives it a function of its own. As a program it prints the table of all attacks:

    python -m tests.api.overload [sqlite|postgresql] [name …]

Beside an attack an honest read takes less than a second (99th percentile), all processes of the server hold
less than 500 MB, and ten seconds after SIGTERM it is gone. These are the bounds where "machine slower by"
says 1.0, on a machine that nobody else uses; elsewhere the seconds count so many times over.
"""

from __future__ import annotations

import gzip
import http.client
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from urllib.parse import urlsplit

from fhir_coprod.jsontext import Json, encode
from tests.api.server import Served, serving
from tests.peers import postgresql
from tests.peers.shared import Run

FHIR_JSON = {"content-type": "application/fhir+json"}
PATCH_JSON = {"content-type": "application/json-patch+json"}
FORM = {"content-type": "application/x-www-form-urlencoded"}


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=lambda: FHIR_JSON)


def packed(request: Request) -> Request:
    return Request(
        request.method,
        request.path,
        gzip.compress(request.body, 9),
        {**request.headers, "content-encoding": "gzip"},
    )


# ---------------------------------------------------------------------------------------------- what is sent


def filled(start: bytes, piece: bytes, size: int, end: bytes) -> bytes:
    """A text of about `size` bytes: the same piece again and again."""
    return start + piece * ((size - len(start)) // len(piece)) + end


def resource(type: str, /, **members: object) -> bytes:
    return encode({"resourceType": type, **members})


def empty_objects(size: int) -> bytes:
    return filled(b'{"resourceType":"Patient","name":[', b"{},", size, b"{}]}")


def empty_lists(size: int) -> bytes:
    return filled(b'{"resourceType":"Patient","name":[', b"[],", size, b"[]]}")


def deep_objects(size: int) -> bytes:
    """As many objects as 60 levels allow: what takes most memory for its length."""
    inner = b'{"a":' * 55 + b"0" + b"}" * 55 + b","
    return filled(b'{"resourceType":"Basic","x":[', inner, size, b"0]}")


def names(number: int) -> bytes:
    """Keys that are all different."""
    return encode({"resourceType": "Basic", **{f"k{each:x}": 0 for each in range(number)}})


def extensions(number: int, *, known: bool = False) -> bytes:
    url = "http://hl7.org/fhir/StructureDefinition/patient-nationality" if known else "urn:x"
    one: Json = {"url": url, "valueString": "x"}
    return resource("Patient", extension=[one] * number)


def questionnaire(number: int) -> bytes:
    items = [{"linkId": str(each), "text": "x", "type": "string"} for each in range(number)]
    return resource("Questionnaire", status="active", item=items)


def profiles(number: int) -> bytes:
    return resource("Patient", meta={"profile": [f"http://example.org/p{each}" for each in range(number)]})


def same_profile(number: int) -> bytes:
    url = "http://hl7.org/fhir/StructureDefinition/vitalsigns"
    return resource("Observation", meta={"profile": [url] * number})


def tags(number: int) -> bytes:
    return resource("Patient", meta={"tag": [{"system": "urn:x", "code": str(n)} for n in range(number)]})


def contained(number: int) -> bytes:
    inner = [{"resourceType": "Organization", "id": f"c{n}", "name": "x"} for n in range(number)]
    uses = [{"reference": f"#c{n}"} for n in range(number)]
    return resource("Patient", contained=inner, generalPractitioner=uses)


def identifiers(number: int) -> bytes:
    return resource("Patient", identifier=[{"system": "urn:x", "value": f"v{n}"} for n in range(number)])


def definition(number: int) -> bytes:
    """A StructureDefinition of so many elements of one slicing."""
    elements = [{"id": f"Patient.name:{n}", "path": "Patient.name"} for n in range(number)]
    return resource(
        "StructureDefinition",
        url="http://example.org/sd",
        name="Sd",
        status="draft",
        kind="resource",
        abstract=False,
        type="Patient",
        baseDefinition="http://hl7.org/fhir/StructureDefinition/Patient",
        derivation="constraint",
        differential={"element": elements},
    )


_numbers = count(1)


def creating(number: int, size: int = 300) -> bytes:
    """A transaction that creates so many patients."""
    return bundle("transaction", number, "POST", "Patient", lambda n: patient(n, size))


def patient(number: int, size: int) -> Json:
    identifier = [{"system": "urn:overload", "value": f"{next(_numbers)}"}]
    given = ["x" * 20] * (size // 25)
    return {"resourceType": "Patient", "identifier": identifier, "name": [{"given": given, "family": "A"}]}


def wrong(type: str, number: int) -> bytes:
    """Patients with twenty faults each."""
    return bundle(type, number, "POST", "Patient", lambda n: {"resourceType": "Patient", "name": [{}] * 20})


def searching(number: int, url: str) -> bytes:
    return bundle("batch", number, "GET", url, None)


def bundle(type: str, number: int, method: str, url: str, make: Callable[[int], Json] | None) -> bytes:
    entries = [
        {"request": {"method": method, "url": url}, **({"resource": make(n)} if make else {})}
        for n in range(number)
    ]
    return resource("Bundle", type=type, entry=entries)


def parameters(number: int) -> bytes:
    return resource("Parameters", parameter=[{"name": f"p{n}", "valueString": "x"} for n in range(number)])


def posted(path: str, body: bytes, times: int) -> list[Request]:
    return [Request("POST", path, body)] * times


def patches(size: int, times: int) -> list[Request]:
    adding = [{"op": "add", "path": "/name/-", "value": {"given": ["x"] * (size // 1000 // 4)}}] * 1000
    return [Request("PATCH", "Patient/honest", encode(adding), PATCH_JSON)] * times


def alternatives(number: int, parameter: str) -> list[Request]:
    values = ",".join(f"v{n}" for n in range(number))
    return [Request("GET", f"Patient?{parameter}={values}", headers={})]


CHAIN = "general-practitioner:Practitioner.name"
BACK = "&".join(f"_revinclude:iterate={type}:patient" for type in ("Observation", "Condition", "Encounter"))


def population() -> list[Request]:
    """What a storm of searches goes through: 1,000 patients, each with a practitioner and a condition."""
    entries: list[Json] = []
    for n in range(1_000):
        patient = {"reference": f"Patient/p{n}"}
        doctor = {"resourceType": "Practitioner", "id": f"d{n}", "name": [{"family": f"a{n}"}]}
        practitioner = [{"reference": f"Practitioner/d{n}"}]
        held = (
            doctor,
            {"resourceType": "Patient", "id": f"p{n}", "generalPractitioner": practitioner},
            {"resourceType": "Condition", "id": f"c{n}", "subject": patient, "asserter": patient},
        )
        for each in held:
            url = f"{each['resourceType']}/{each['id']}"
            entries.append({"request": {"method": "PUT", "url": url}, "resource": each})
    return [Request("POST", "", resource("Bundle", type="transaction", entry=entries))]


ATTACKS: dict[str, Callable[[], list[Request]]] = {
    "8 × 20 kB of gzip, 20 MB of {}": lambda: (
        [packed(Request("POST", "Patient", empty_objects(19_900_000)))] * 8
    ),
    "8 × 12 MB of {}": lambda: posted("Patient", empty_objects(12_000_000), 8),
    "4 × 18 MB of []": lambda: posted("Patient", empty_lists(18_000_000), 4),
    "8 × 1.4 MB of {}, below the bound": lambda: posted("Patient", empty_objects(1_400_000), 8),
    "8 × 4.4 MB of nested objects, below the bound": lambda: posted("Basic", deep_objects(4_400_000), 8),
    "8 × 1.4 million keys": lambda: posted("Basic", names(1_400_000), 8),
    "8 × 19 MB in one text": lambda: posted(
        "Patient", filled(b'{"resourceType":"Patient","language":"', b"a, {", 19_000_000, b'"}'), 8
    ),
    "12 × a definition of 6,000 elements": lambda: posted("StructureDefinition", definition(6_000), 12),
    "a transaction of 5,000 entries": lambda: posted("", creating(5_000), 1),
    "8 × a transaction of 5,000 entries": lambda: [Request("POST", "", creating(5_000)) for _ in range(8)],
    "4 × a transaction of 5,000 entries, 18 MB": lambda: [
        Request("POST", "", creating(5_000, 3_500)) for _ in range(4)
    ],
    "4 × a transaction of 5,000 × 20 faults": lambda: posted("", wrong("transaction", 5_000), 4),
    "4 × a batch of 5,000 × 20 faults": lambda: posted("", wrong("batch", 5_000), 4),
    "4 × 150,000 extensions": lambda: posted("Patient", extensions(150_000), 4),
    "4 × 150,000 known extensions": lambda: posted("Patient", extensions(150_000, known=True), 4),
    "4 × 100,000 items of a Questionnaire": lambda: posted("Questionnaire", questionnaire(100_000), 4),
    "4 × 200,000 profiles": lambda: posted("Patient", profiles(200_000), 4),
    "4 × 200,000 times one profile": lambda: posted("Observation", same_profile(200_000), 4),
    "4 × 200,000 tags": lambda: posted("Patient", tags(200_000), 4),
    "4 × 100,000 contained": lambda: posted("Patient", contained(100_000), 4),
    "4 × 150,000 identifiers": lambda: posted("Patient", identifiers(150_000), 4),
    "4 × $validate of 150,000 extensions": lambda: posted("Patient/$validate", extensions(150_000), 4),
    "4 × $validate of 100,000 items": lambda: posted("$validate", questionnaire(100_000), 4),
    "4 × $validate of 200,000 profiles": lambda: posted("$validate", profiles(200_000), 4),
    "4 × Parameters of 300,000": lambda: posted("Patient/$validate", parameters(300_000), 4),
    "8 × PATCH of 1,000 operations, 1 MB": lambda: patches(1_000_000, 8),
    "4 × a batch of 5,000 searches": lambda: posted(
        "", searching(5_000, f"Patient?{CHAIN}=a&name:contains=b&_total=accurate"), 4
    ),
    "40 × 8 rounds of _include": lambda: (
        [Request("GET", f"Patient?_include=*&_include:iterate=*&{BACK}&_count=1000", headers={})] * 40
    ),
    "40 × 400 alternatives of chains": lambda: (
        [Request("GET", "Patient?" + "&".join(f"{CHAIN}={'a,' * 400}b" for _ in range(9)), headers={})] * 40
    ),
}

POPULATED = ("40 × 8 rounds of _include", "40 × 400 alternatives of chains")
"""Attacks that would be nothing on an empty store."""


# ---------------------------------------------------------------------------------------------- measuring


@dataclass
class Harm:
    """What an attack did.

    statuses:  of its answers; 0: none
    reads, searches, creates: seconds of each honest request beside it
    refused:   honest requests that got something else than their answer
    memory:    most bytes that all processes of the server held together
    largest:   most bytes that one of them held
    after:     seconds of work that went on after the last answer
    ending:    seconds from SIGTERM to the end, in the middle of the same attack
    slowness:  how many seconds one second of work took on this machine, just before
    """

    statuses: list[int] = field(default_factory=list)
    seconds: float = 0
    reads: list[float] = field(default_factory=list)
    searches: list[float] = field(default_factory=list)
    creates: list[float] = field(default_factory=list)
    refused: int = 0
    memory: int = 0
    largest: int = 0
    after: float = 0
    ending: float = 0
    slowness: float = 1

    def row(self, name: str) -> str:
        answers = ", ".join(
            f"{self.statuses.count(status)} × {status or 'none'}" for status in sorted(set(self.statuses))
        )
        waited = " | ".join(f"{p99(taken):.3f}" for taken in (self.reads, self.searches, self.creates))
        told = f"{answers} in {self.seconds:.1f} s"
        memory = f"{self.memory // 1_000_000} | {self.largest // 1_000_000}"
        rest = f"{self.refused} | {memory} | {self.after:.1f} | {self.ending:.1f}"
        return f"| {name} | {told} | {waited} | {rest} | {self.slowness:.1f} |"


HEAD = (
    "| attack | answers | read p99, s | search p99, s | create p99, s | refused | memory, MB "
    "| of the largest, MB | work after, s | SIGTERM, s | machine slower by |\n" + "|---" * 11 + "|"
)


def slowness() -> float:
    """Seconds that a second of work takes: 1 on a machine that nobody else uses."""
    began, used = time.perf_counter(), time.process_time()
    while time.process_time() - used < 0.1:
        pass
    return max(1.0, (time.perf_counter() - began) * 10)


def p99(seconds: list[float]) -> float:
    ordered = sorted(seconds)
    return ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))] if ordered else float("nan")


def send(url: str, request: Request, seconds: float = 120) -> int:
    """The status of the answer; 0 if the connection ended without one."""
    place = urlsplit(url)
    connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=seconds)
    try:
        path = f"{place.path.rstrip('/')}/{request.path}".rstrip("/")
        connection.request(request.method, path, request.body or None, request.headers)
        answer = connection.getresponse()
        answer.read()
        return answer.status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()


HONEST = {
    "resourceType": "Patient",
    "id": "honest",
    "identifier": [{"system": "urn:overload", "value": "honest"}],
    "name": [{"family": "Honest"}],
}


def _ask(url: str, harm: Harm, over: threading.Event) -> None:
    """Read, search and create in turn, as somebody does who works there."""
    new = encode({**HONEST, "id": "new", "identifier": [{"system": "urn:overload", "value": "new"}]})
    requests = (
        (Request("GET", "Patient/honest", headers={}), harm.reads, 200),
        (Request("GET", "Patient?identifier=urn:overload|honest", headers={}), harm.searches, 200),
        (Request("GET", "Patient/honest", headers={}), harm.reads, 200),
        (Request("POST", "Patient", new), harm.creates, 201),
    )
    while not over.is_set():
        for request, taken, status in requests:
            began = time.perf_counter()
            harm.refused += send(url, request) != status
            taken.append(time.perf_counter() - began)
            time.sleep(0.01)


def processes(session: int) -> Iterator[int]:
    """The processes of a session."""
    for name in os.listdir("/proc"):
        if name.isdecimal():
            with suppress(OSError):
                if os.getsid(int(name)) == session:
                    yield int(name)


def _memory(session: int) -> list[int]:
    """The bytes that each process of a session holds; what they share is divided among them."""
    held = []
    for process in processes(session):
        with suppress(OSError), open(f"/proc/{process}/smaps_rollup") as file:
            held.append(1024 * sum(int(line.split()[1]) for line in file if line.startswith("Pss:")))
    return held


def _processor_seconds(session: int) -> float:
    total = 0
    for process in processes(session):
        with suppress(OSError), open(f"/proc/{process}/stat") as file:
            fields = file.read().rpartition(")")[2].split()
            total += int(fields[11]) + int(fields[12])
    return total / os.sysconf("SC_CLK_TCK")


def _until_idle(session: int, longest: float = 90) -> float:
    """Seconds until the processes do nothing any more."""
    began = time.perf_counter()
    used = _processor_seconds(session)
    while (passed := time.perf_counter() - began) < longest:
        time.sleep(0.2)
        before, used = used, _processor_seconds(session)
        if used - before < 0.04:
            return passed
    return passed


@contextmanager
def _watched(session: int, harm: Harm) -> Iterator[None]:
    over = threading.Event()

    def watch() -> None:
        while not over.is_set():
            held = _memory(session)
            harm.memory = max(harm.memory, sum(held))
            harm.largest = max(harm.largest, *held, 0)
            time.sleep(0.05)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def sent_at_once(url: str, requests: list[Request]) -> list[int]:
    statuses: list[int] = []
    threads = [
        threading.Thread(target=lambda each=each: statuses.append(send(url, each))) for each in requests
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return statuses


def beside(
    store_url: str,
    attack: Callable[[str], list[int]],
    *arguments: str,
    ends: bool = True,
    stored: Sequence[Request] = (),
) -> Harm:
    """Let an attack, which gets the server's FHIR root and gives the statuses of its answers, run twice: once
    beside an honest client, and once until SIGTERM comes in the middle of it.

    stored: what is there before
    """
    harm = Harm(slowness=slowness())
    with serving(store_url, *arguments, stops=False) as served:
        session = os.getsid(served.process.pid)
        assert send(served.url, Request("PUT", "Patient/honest", encode(HONEST))) in (200, 201)
        for request in stored:
            assert send(served.url, request) == 200
        over = threading.Event()
        honest = threading.Thread(target=_ask, args=(served.url, harm, over))
        with _watched(session, harm):
            honest.start()
            time.sleep(0.3)
            began = time.perf_counter()
            harm.statuses = attack(served.url)
            harm.seconds = time.perf_counter() - began
            over.set()
            honest.join()
            harm.after = _until_idle(session)
        if ends:
            harm.ending = _stopped_amid(served, attack)
    return harm


def _stopped_amid(served: Served, attack: Callable[[str], list[int]]) -> float:
    attacking = threading.Thread(target=attack, args=(served.url,))
    attacking.start()
    time.sleep(1.5)
    began = time.perf_counter()
    os.kill(served.process.pid, signal.SIGTERM)
    served.process.wait(90)
    taken = time.perf_counter() - began
    attacking.join()
    return taken


@contextmanager
def _new_store(kind: str) -> Iterator[str]:
    run = Run.begin()
    try:
        if kind == "sqlite":
            yield f"sqlite:///{run.folder}/store.db"
        else:
            yield postgresql.new_database(postgresql.start(run, durable=True)["url"])
    finally:
        run.finish()


def main(kind: str = "sqlite", *wanted: str) -> None:
    print(HEAD, flush=True)
    for name, make in ATTACKS.items():
        if not wanted or any(each in name for each in wanted):
            requests = make()
            with _new_store(kind) as url:
                harm = beside(
                    url,
                    lambda root, sent=requests: sent_at_once(root, sent),
                    stored=population() if name in POPULATED else (),
                )
            print(harm.row(name), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
