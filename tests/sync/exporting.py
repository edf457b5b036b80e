"""A FHIR server for tests that gives bulk exports, with the quirks that a test asks for."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from fhir_coprod.settings import EhrSettings, Settings, StoreSettings, SyncSettings
from fhir_coprod.store import Store
from fhir_coprod.store.schema.sync import bulk_file
from fhir_coprod.sync.ehr.sending import Politeness
from fhir_coprod.sync.engine import run
from fhir_coprod.sync.report import EhrReport
from fhir_coprod.sync.staging.stage import holdings
from tests.sync.records import organization, patient, referral, task
from tests.sync.server import Ehr, Json

LIVES = {"Organization", "Practitioner", "Location"}


async def at_once(_: float) -> None:
    """Sleeps not at all."""


QUICK = Politeness(attempts=2, first_pause=0.0, longest_pause=0.0, sleep=at_once)


@dataclass
class Export:
    """One export as the server has it."""

    level: str
    types: tuple[str, ...]
    since: str
    patients: tuple[str, ...]
    records: list[Json]
    deleted: list[str]
    time: str
    polls: int
    is_cleared: bool = False


@dataclass
class Exporting(Ehr):
    """An EHR whose records can be exported."""

    levels: tuple[str, ...] = ("",)
    """What can be exported: "" (everything), Patient, Group."""
    methods: tuple[str, ...] = ("GET", "POST")
    group: list[str] = field(default_factory=list)
    """The patients in Group/g; the Group shows them."""
    hides_members: bool = False
    takes_patients: bool = True
    """It heeds the parameter `patient`; None of its records is left out otherwise."""
    heeds_type: bool = True
    heeds_since: bool = True
    polls: int = 1
    """How often it says that an export is under way."""
    per_file: int = 2
    zipped: bool = False
    in_parts: bool = False
    errors: str = "error"
    outcomes: list[Json] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)
    """Those that are taken; empty: any, or none."""
    needs_token: bool = True
    files_at: str = ""
    """Address of another server that has the files; empty: this one."""
    exports: list[Export] = field(default_factory=list)
    looks: int = 0
    fetched: list[str] = field(default_factory=list)
    shown: list[tuple[str, str]] = field(default_factory=list)
    """(path, Authorization) of each request to a status address or a file."""
    arrived: Callable[[str], None] = lambda what: None
    """Called when a request about exports (kick, look, file or clear) has arrived, before it is answered."""
    kicks: Callable[[Request], Response | None] = lambda request: None
    status: Callable[[Exporting, int], Response | None] = lambda ehr, look: None
    file: Callable[[Exporting, str, int], Response | None] = lambda ehr, name, nth: None
    manifest: Callable[[Json], Any] = lambda manifest: manifest

    # --- HTTP ---

    def app(self) -> Starlette:
        kick = {"endpoint": self._kick, "methods": ["GET", "POST"]}
        own = [
            Route("/fhir/$export", **kick),
            Route("/fhir/{type}/$export", **kick),
            Route("/fhir/{type}/{id}/$export", **kick),
            Route("/fhir/Group/{id}", self._group),
            Route("/bulk/{number}", self._status, methods=["GET", "DELETE"]),
            Route("/bulk/{number}/{name}", self._file),
        ]
        app = super().app()
        app.router.routes[:0] = own
        return app

    @property
    def _root(self) -> str:
        return self.url.removesuffix("/fhir")

    async def _metadata(self, request: Request) -> Response:
        answer = await super()._metadata(request)
        statement = json.loads(bytes(answer.body))
        rest = statement["rest"][0]
        if "" in self.levels:
            rest["operation"] = [
                {"name": "export", "definition": "http://hl7.org/…/OperationDefinition/export"}
            ]
        for level in {"Patient", "Group"} & set(self.levels):
            named = [r for r in rest["resource"] if r["type"] == level] or [{"type": level}]
            named[0]["operation"] = [{"name": f"{level.lower()}-export"}]
            rest["resource"] = [r for r in rest["resource"] if r["type"] != level] + named
        return JSONResponse(statement)

    async def _group(self, request: Request) -> Response:
        if request.path_params["id"] != "g":
            return JSONResponse({"resourceType": "OperationOutcome"}, 404)
        member = [{"entity": {"reference": f"Patient/{id}"}} for id in self.group]
        return JSONResponse(
            {"resourceType": "Group", "id": "g", "type": "person", "actual": True}
            | ({} if self.hides_members else {"member": member})
        )

    def _may(self, request: Request) -> bool:
        shown = request.headers.get("Authorization", "")
        self.shown.append((request.url.path, shown))
        return not self.tokens or shown.removeprefix("Bearer ") in self.tokens

    async def _kick(self, request: Request) -> Response:
        if (own := self.kicks(request)) is not None:
            return own
        if not self._may(request):
            return JSONResponse({"resourceType": "OperationOutcome"}, 401)
        if request.method not in self.methods:
            return JSONResponse({"resourceType": "OperationOutcome"}, 405)
        level = "/".join(request.path_params[key] for key in ("type", "id") if key in request.path_params)
        types, since, patients = await self._asked(request)
        if patients and not self.takes_patients:
            return JSONResponse(
                {
                    "resourceType": "OperationOutcome",
                    "issue": [{"severity": "error", "code": "not-supported"}],
                },
                400,
            )
        self.clock += timedelta(minutes=1)
        self.exports.append(self._export(level, types, since, patients))
        self.arrived("kick")
        return Response(
            status_code=202, headers={"Content-Location": f"{self._root}/bulk/{len(self.exports)}"}
        )

    async def _asked(self, request: Request) -> tuple[tuple[str, ...], str, tuple[str, ...]]:
        if request.method == "GET":
            query = request.query_params
            types = tuple(filter(None, query.get("_type", "").split(",")))
            return types, query.get("_since", ""), ()
        parameters = json.loads(await request.body())["parameter"]
        given = [(p["name"], next(v for k, v in p.items() if k != "name")) for p in parameters]
        return (
            tuple(v for k, v in given if k == "_type"),
            next((v for k, v in given if k == "_since"), ""),
            tuple(v["reference"].removeprefix("Patient/") for k, v in given if k == "patient"),
        )

    def _export(self, level: str, types: tuple[str, ...], since: str, patients: tuple[str, ...]) -> Export:
        found, deleted = [], []
        for reference, record in self.resources.items():
            type = record["resourceType"]
            of = record["id"] if type == "Patient" else self._patient(record)
            if level and type in LIVES:
                continue
            if level.startswith("Group") and of not in self.group:
                continue
            if (patients and of not in patients) or reference in self.hidden:
                continue
            if types and self.heeds_type and type not in types:
                continue
            if since and self.heeds_since and record["meta"]["lastUpdated"] < since:
                continue
            found.append(record)
        if since:
            deleted = [r for r, version, when in self.log if version is None and when >= since]
        time = self.clock.strftime("%Y-%m-%dT%H:%M:%S.000Z")
        return Export(level, types, since, patients, found, deleted, time, self.polls)

    def _patient(self, record: Json) -> str:
        for key in ("subject", "for", "patient"):
            if key in record:
                return str(record[key]["reference"]).removeprefix("Patient/")
        return ""

    async def _status(self, request: Request) -> Response:
        number = int(request.path_params["number"])
        if not self._may(request):
            return JSONResponse({"resourceType": "OperationOutcome"}, 401)
        known = number <= len(self.exports) and not self.exports[number - 1].is_cleared
        if not known:
            return JSONResponse({"resourceType": "OperationOutcome"}, 404)
        export = self.exports[number - 1]
        if request.method == "DELETE":
            export.is_cleared = True
            self.arrived("clear")
            return Response(status_code=202)
        self.looks += 1
        self.arrived("look")
        if (own := self.status(self, self.looks)) is not None:
            return own
        if export.polls > 0:
            export.polls -= 1
            return Response(status_code=202, headers={"X-Progress": "50% complete", "Retry-After": "0"})
        part = request.query_params.get("part", "0")
        return JSONResponse(self.manifest(self._manifest(number, export, int(part))))

    def names(self, export: Export) -> list[tuple[str, int]]:
        """(name, number of records) of its files."""
        types = sorted({r["resourceType"] for r in export.records})
        found = []
        for type in types:
            many = sum(1 for r in export.records if r["resourceType"] == type)
            starts = range(0, many, self.per_file)
            found += [(f"{type}.{s // self.per_file}", min(self.per_file, many - s)) for s in starts]
        return found

    def _manifest(self, number: int, export: Export, part: int) -> Json:
        root = self.files_at or self._root
        output = [
            {"type": name.split(".")[0], "url": f"{root}/bulk/{number}/{name}", "count": many}
            for name, many in self.names(export)
        ]
        deleted = [{"type": "Bundle", "url": f"{root}/bulk/{number}/deleted"}] if export.deleted else []
        outcome = (
            [{"type": "OperationOutcome", "url": f"{root}/bulk/{number}/outcome"}] if self.outcomes else []
        )
        link = []
        if self.in_parts:
            link = [{"relation": "next", "url": f"{self._root}/bulk/{number}?part={part + 1}"}]
            link = link if part + 1 < len(output) else []
            output = output[part : part + 1]
            deleted, outcome = (deleted, outcome) if part == 0 else ([], [])
        return {
            "transactionTime": export.time,
            "request": f"{self.url}/$export",
            "requiresAccessToken": self.needs_token,
            "output": output,
            "deleted": deleted,
            self.errors: outcome,
            **({"link": link} if link else {}),
        }

    async def _file(self, request: Request) -> Response:
        number, name = int(request.path_params["number"]), request.path_params["name"]
        self.fetched.append(name)
        self.arrived("file")
        shown = self._may(request)
        if not shown and self.needs_token:
            return JSONResponse({"resourceType": "OperationOutcome"}, 401)
        if (own := self.file(self, name, self.fetched.count(name))) is not None:
            return own
        export = self.exports[number - 1]
        if export.is_cleared:
            return Response(status_code=404)
        body = self.content(export, name)
        if self.zipped:
            return Response(gzip.compress(body), media_type="application/fhir+ndjson")
        return Response(body, media_type="application/fhir+ndjson")

    def content(self, export: Export, name: str) -> bytes:
        """The bytes of one of its files."""
        if name == "outcome":
            return b"".join(json.dumps(one).encode() + b"\n" for one in self.outcomes)
        if name == "deleted":
            entry = [{"request": {"method": "DELETE", "url": r}} for r in export.deleted]
            return (
                json.dumps({"resourceType": "Bundle", "type": "transaction", "entry": entry}).encode() + b"\n"
            )
        type, _, nth = name.partition(".")
        records = [r for r in export.records if r["resourceType"] == type]
        start = int(nth) * self.per_file
        lines = []
        for record in records[start : start + self.per_file]:
            reference = f"{type}/{record['id']}"
            lines.append(self.broken.get(reference) or json.dumps(record).encode())
        return b"".join(line + b"\n" for line in lines)


TYPES = ("Organization", "Patient", "ServiceRequest", "Task")


def settings_for(store_path: str, ehr: Ehr, *, wait: float = 10, **more: Any) -> Settings:
    """Settings with this one EHR, `care`, which may be exported at any time."""
    own = {"types": TYPES, "bulk_every_hours": 0, "requests_per_second": 1000, **more}
    return Settings(
        store=StoreSettings(url=store_path) if store_path else StoreSettings(),
        sync=SyncSettings(bulk_wait_minutes=wait),
        ehr=(EhrSettings(name="care", url=ehr.url, **own),),
    )


FAILED = {"resourceType": "OperationOutcome", "issue": [{"severity": "error", "code": "exception"}]}
MANY = 4


def hospital(patients: int = MANY, **habits: Any) -> Exporting:
    """So many patients, each with a referral and a Task."""
    ehr = Exporting(**habits)
    ehr.load(organization("care", "GP"))
    for n in range(patients):
        ehr.load(
            patient(f"p{n}", f"{n}"),
            referral(f"s{n}", f"Patient/p{n}", f"R{n}"),
            task(f"t{n}", f"Patient/p{n}", f"ServiceRequest/s{n}"),
        )
    return ehr


def synced(
    store: Store, path: str, ehr: Ehr, *, full: bool = False, wait: float = 10, **more: Any
) -> EhrReport:
    [report] = run(store, settings_for(path, ehr, wait=wait, **more), full=full, politeness=QUICK)
    return report


def alive(store: Store, type: str) -> set[str]:
    with store.connect() as connection:
        return {held.foreign_id for held in holdings(connection) if held.type == type}


def left_behind(store: Store, path: str) -> list[Any]:
    """What is left of exports in the store and on the disk."""
    with store.connect() as connection:
        rows: list[Any] = list(connection.execute(bulk_file.select()).all())
    return [*rows, *Path(f"{path.removeprefix('sqlite:///')}-exports").rglob("*.ndjson")]


def remarked(report: EhrReport) -> str:
    """All that a run said of types without finding fault."""
    return " | ".join(report.remarks.values())
