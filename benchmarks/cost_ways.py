"""The ways in that the search for costs times: both tiers of the validator, the index, the text, requests."""

from __future__ import annotations

import gzip
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.cost_kinds import NARRATIVE, Kind
from fhir_coprod import jsontext
from fhir_coprod.files.finding import find
from fhir_coprod.jsontext import Json
from fhir_coprod.settings import LimitSettings, Settings, SiteSettings, StoreSettings
from fhir_coprod.store import Store, index, links, loading
from fhir_coprod.validation.validator import default
from tests.api.conftest import Api

Work = Callable[[], object]
RECORDS = frozenset({"hand", "element"})
JSON_PATCH = "application/json-patch+json"


@dataclass(frozen=True, slots=True)
class Way:
    """A way in.

    prepare: from an input to the work that is timed; None if it does not apply to this input
    groups:  the groups of kinds that it takes
    type:    the resource type that it takes; "": any
    """

    name: str
    prepare: Callable[[bytes], Work | None]
    groups: frozenset[str] = frozenset({"hand"})
    type: str = ""

    def suits(self, kind: Kind) -> bool:
        return kind.group in self.groups and kind.name.startswith(self.type)


@contextmanager
def ways() -> Iterator[list[Way]]:
    """All of them, over one store of their own."""
    with tempfile.TemporaryDirectory(prefix="coprod-cost-") as folder:
        url = f"sqlite:///{folder}/cost.db"
        settings = Settings(
            store=StoreSettings(url=url),
            site=SiteSettings(base_url="http://localhost/"),
            limits=LimitSettings(seconds=600),
        )
        with Store.open(url) as store:
            api = Api(store, settings)
            try:
                yield [*_of_records(), *_of_requests(api), _load(store, Path(folder))]
            finally:
                api.close()


def _of_records() -> Iterator[Way]:
    validate = default().validate
    yield Way("validate", lambda raw: lambda: validate(raw), RECORDS)
    yield Way("validate, an error at the top", lambda raw: _work(validate, _wrong_on_top(raw)), RECORDS)
    yield Way("validate, an error in each object", lambda raw: _work(validate, _wrong(raw)), RECORDS)
    yield Way("index", lambda raw: _indexing(raw, is_sound=True), RECORDS)
    yield Way("index of what is not valid", lambda raw: _indexing(_wrong(raw), is_sound=False), RECORDS)
    yield Way("text", _text, RECORDS)


def _work(do: Callable[[bytes], object], raw: bytes) -> Work:
    return lambda: do(raw)


def _wrong_on_top(raw: bytes) -> bytes:
    return b'{"zz":1,' + raw[1:]


def _wrong(raw: bytes) -> bytes:
    """The same with an unknown member in each object: inside of a text the quote would be escaped."""
    return raw.replace(b'{"', b'{"zz":1,"')


def _indexing(raw: bytes, *, is_sound: bool) -> Work:
    document = jsontext.parse(raw)
    return lambda: index.rows(document.type, document.data, is_sound=is_sound)


def _text(raw: bytes) -> Work:
    """Parsing, rewriting references, patching, splicing and hashing."""

    def work() -> object:
        document = jsontext.parse(raw)
        addresses = links.Addresses({links.folded(link): f"{link}x" for link in document.references()})
        jsontext.patched(document, document.data, {**document.data, "id": "y"})
        settled = links.settled(document, addresses).document
        return settled.spliced("x", {"versionId": "1"}), settled.hash

    return work


def _of_requests(api: Api) -> Iterator[Way]:
    fhir = {"content_type": "application/fhir+json"}
    packed = {"content_encoding": "gzip", **fhir}

    def create(raw: bytes) -> Work:
        type = jsontext.parse(raw).type
        return lambda: api.post(type, raw)

    def update(raw: bytes) -> Work:
        document = jsontext.parse(raw)
        body = jsontext.encode({**document.data, "id": "u"})
        other = jsontext.encode({**document.data, "id": "u", "language": "en"})

        def work() -> None:
            api.put(f"{document.type}/u", body)
            api.put(f"{document.type}/u", other)

        return work

    def validate(raw: bytes) -> Work:
        type = jsontext.parse(raw).type
        return lambda: api.post(f"{type}/$validate", raw)

    def unpacked(raw: bytes) -> Work:
        type, body = jsontext.parse(raw).type, gzip.compress(raw)
        return lambda: api.post(f"{type}/$validate", body, **packed)

    def transaction(raw: bytes) -> Work:
        return lambda: api.post("", raw)

    def history(raw: bytes) -> Work:
        document = jsontext.parse(raw)
        api.put(f"{document.type}/h", jsontext.encode({**document.data, "id": "h"}))
        return lambda: api.get(f"{document.type}/h/_history")

    def patch(raw: bytes) -> Work:
        names = [f"n{i}" for i in range(1_000)]
        text = {"status": "generated", "div": NARRATIVE}
        patient: Json = {"resourceType": "Patient", "id": "patched", "text": text, "name": [{"given": names}]}
        body = jsontext.encode(patient)

        def work() -> None:
            api.put("Patient/patched", body)
            api.patch("Patient/patched", raw)

        return work

    def query(raw: bytes) -> Work:
        asked = jsontext.decode(raw)["q"]
        form = {"content_type": "application/x-www-form-urlencoded"}
        return lambda: api.post("Patient/_search", asked.encode(), **form)

    yield Way("create", create)
    yield Way("update, twice", update)
    yield Way("$validate", validate)
    yield Way("$validate, gzip", unpacked)
    yield Way("history", history)
    yield Way("transaction", transaction, type="Bundle: transaction")
    yield Way("patch", patch, frozenset({"patch"}))
    yield Way("search", query, frozenset({"query"}))


def _load(store: Store, folder: Path) -> Way:
    def load(raw: bytes) -> Work:
        file = folder / "lines.ndjson"
        lines = jsontext.decode(raw)
        file.write_bytes(
            b"\n".join(one.encode() if isinstance(one, str) else jsontext.encode(one) for one in lines)
        )
        return lambda: loading.load(store, find([file]))

    return Way("load", load, frozenset({"lines"}))
