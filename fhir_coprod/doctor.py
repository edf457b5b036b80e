"""Checks what somebody checks who is called at night: settings, secrets, store, EHRs, sync, watch, service.

Each check is one sentence, and if something is wrong, another that says what to do. None holds a secret, a
record, or the name or number of a patient.
"""

from __future__ import annotations

import asyncio
import os
import platform
import shutil
import sqlite3
import ssl
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Final, Literal
from urllib.parse import urlsplit

from cryptography import x509

from fhir_coprod import jobs
from fhir_coprod.accounts import BasicAuth, BearerAuth, ClientCredentialsAuth, SmartBackendAuth
from fhir_coprod.audit.trail import is_remembered
from fhir_coprod.errors import CoprodError, plain, said
from fhir_coprod.instants import spoken_age
from fhir_coprod.jsontext import Json
from fhir_coprod.overview import EhrOverview, Overview, overview
from fhir_coprod.settings import EhrSettings, Settings
from fhir_coprod.store import Store, opening, schema
from fhir_coprod.store.condition import LEAST_ROOM, Condition
from fhir_coprod.store.database import Database
from fhir_coprod.store.soundness.glance import glance
from fhir_coprod.store.sqlite import SqliteDatabase
from fhir_coprod.sync.ehr import keys
from fhir_coprod.sync.ehr.authorization import Access
from fhir_coprod.sync.ehr.client import EhrClient
from fhir_coprod.sync.ehr.sending import Politeness
from fhir_coprod.watch.facts import rows
from fhir_coprod.watch.facts.reader import Reader
from fhir_coprod.watch.record.fhir import moment
from fhir_coprod.watch.worklist.desk import open_alerts
from fhir_coprod.watched import PULLED

Grade = Literal["ok", "note", "warn", "fault"]
"""ok: as it should be; note: good to know; warn: will be wrong, or may be; fault: wrong, and somebody has to
act."""

ROOMY: Final = 1_000_000_000
"""Bytes on the disk below which we warn."""
CLOCK_SECONDS: Final = 60
"""How far our clock may be from an EHR's: tokens and deadlines go by it."""
EXPIRES_SOON: Final = timedelta(days=30)
UNSEEN_FOR: Final = timedelta(days=7)
"""How long alerts may be open before we warn that nobody has taken any of them."""
_LETTERS: Final = "fhir-coprod dead-letters list; then replay, or dismiss."
OPEN_TO_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
UNIT_FOLDERS: Final = ("/etc/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system")


@dataclass(frozen=True, slots=True)
class Finding:
    """One check: what it is about, how it is, and what to do if that is not as it should be."""

    about: str
    grade: Grade
    words: str
    cure: str = ""

    def to_json(self) -> Json:
        return {"about": self.about, "grade": self.grade, "words": self.words, "cure": self.cure or None}


def examine(settings: Settings, now: datetime, units: Iterable[str] = UNIT_FOLDERS) -> Iterator[Finding]:
    """All checks, in the order in which one thing rests on another; writes nothing.

    units: folders in which systemd looks for units
    """
    yield _versions()
    yield _files(settings)
    for ehr in settings.ehr:
        yield from _secrets(ehr)
        yield from _certificates(ehr, now)
    seen: Overview | None = None
    people: list[Finding] = []
    base = opening.connect(settings.store.url)
    try:
        faults = list(_schema(base))
        yield from faults
        if not any(each.grade == "fault" for each in faults):
            glance(base)
            with Store(base) as store:
                yield _room(store.condition())
                seen = overview(store, settings, now)
                people = list(_people(store, settings, now))
                yield from _audit(store, settings)
    except CoprodError as error:
        yield Finding("store", "fault", plain(error.message))
        yield from _no_room(base)
    finally:
        base.close()
    asked = asyncio.run(_ask_all(settings, seen))
    for ehr in settings.ehr:
        yield from asked[ehr.name]
        for one in seen.ehrs if seen else ():
            if one.name == ehr.name:
                yield from _sync(one, now)
    if not settings.ehr:
        yield Finding("ehr", "note", "no EHR is set up", "Add an [[ehr]] block with name and url.")
    if seen is not None:
        yield from _watch(seen)
        yield from people
    yield _units(units)


def _versions() -> Finding:
    words = f"fhir-coprod {version('fhir-coprod')}, Python {platform.python_version()}"
    return Finding("versions", "ok", f"{words}, SQLite {sqlite3.sqlite_version}, {platform.system()}")


def _files(settings: Settings) -> Finding:
    """What the settings name: policy, words, identifiers. The settings themselves could be read already."""
    try:
        jobs.require_files(settings)
    except CoprodError as error:
        return Finding("settings", "fault", plain(error.message))
    many = "1 EHR" if len(settings.ehr) == 1 else f"{len(settings.ehr)} EHRs"
    return Finding("settings", "ok", f"can be read; {many}, policy {settings.watch.policy}")


# --- secrets and certificates ---------------------------------------------------------------------


def secret_files(ehr: EhrSettings) -> list[Path]:
    """The files of secrets that the settings of an EHR name, or that `ehr keys` made for it."""
    auth = ehr.auth
    named: list[Path | None] = [ehr.tls.key_file]
    if isinstance(auth, BasicAuth):
        named.append(auth.password_file)
    elif isinstance(auth, BearerAuth):
        named.append(auth.token_file)
    elif isinstance(auth, ClientCredentialsAuth):
        named.append(auth.secret_file)
    elif isinstance(auth, SmartBackendAuth):
        named.append(auth.key_file or (None if auth.key_env else keys.default_file(ehr.name)))
    return [file for file in named if file is not None]


def _secrets(ehr: EhrSettings) -> Iterator[Finding]:
    about = f"{ehr.name}: secrets"
    try:
        EhrClient(ehr)
    except CoprodError as error:
        yield Finding(about, "fault", plain(error.message))
        return
    files = secret_files(ehr)
    open_ones = [found for file in files if (found := _openness(about, file)) is not None]
    yield from open_ones
    if not open_ones:
        yield Finding(about, "ok", "can be read, not by others" if files else "no file of secrets")


def _openness(about: str, file: Path) -> Finding | None:
    """Whether others can read a secret. What does not belong to us may be meant for our group (root:coprod,
    0640): nothing that we say may keep the account that syncs from reading it."""
    seen = file.stat()
    mode, is_ours = seen.st_mode, os.name == "posix" and seen.st_uid == os.geteuid()
    if os.name != "posix" or not mode & (OPEN_TO_OTHERS if is_ours else stat.S_IRWXO):
        return None
    words = f"{file} can be read by others (mode {stat.S_IMODE(mode):04o})"
    if not mode & stat.S_IRWXO:
        words = f"{file} can be read by its group (mode {stat.S_IMODE(mode):04o})"
        return Finding(about, "warn", words, f"chmod 600 {file}, if the account that syncs is its owner.")
    owner = "" if is_ours and seen.st_uid else "make the account that syncs its owner (chown), then "
    return Finding(about, "fault", words, f"{owner}chmod 600 {file}")


def _certificates(ehr: EhrSettings, now: datetime) -> Iterator[Finding]:
    for file in filter(None, (ehr.tls.certificate_file, ehr.tls.ca_file)):
        about = f"{ehr.name}: certificate"
        try:
            found = x509.load_pem_x509_certificates(file.read_bytes())
        except (OSError, ValueError):
            yield Finding(
                about, "fault", f"{file} cannot be read as certificates in PEM", "Put it there anew."
            )
            continue
        ends = min(one.not_valid_after_utc for one in found)
        words = f"{file} is valid until {ends:%Y-%m-%d}"
        cure = "Have a new one made, and replace the file."
        if ends <= now:
            yield Finding(about, "fault", f"{file} has run out on {ends:%Y-%m-%d}", cure)
        elif ends - now < EXPIRES_SOON:
            yield Finding(about, "warn", words, cure)
        else:
            yield Finding(about, "ok", words)


# --- the store ------------------------------------------------------------------------------------


def _schema(base: Database) -> Iterator[Finding]:
    """Whether there is a store of this version, whose end is whole, as each start looks at it."""
    if isinstance(base, SqliteDatabase) and not base.path.exists():
        cure = "fhir-coprod sync makes it, or name your settings with --config."
        yield Finding("store", "fault", f"there is none at {base.path}", cure)
        return
    found = opening.check(base)
    if found == schema.REVISION:
        cure = "fhir-coprod db check reads all of it"
        yield Finding("store", "ok", f"schema {found}, current; {cure}")
    elif not found:
        yield Finding("store", "fault", "is empty", "fhir-coprod sync fills it.")
    else:
        is_newer = opening.is_newer(found)
        cure = "Install that version." if is_newer else "Make a backup, then fhir-coprod db upgrade."
        made = "a newer" if is_newer else "an older"
        yield Finding("store", "fault", f"was made by {made} version (schema {found})", cure)


def _no_room(base: Database) -> Iterator[Finding]:
    """Says so if a store that cannot be opened is on a full disk: SQLite calls that many things."""
    if isinstance(base, SqliteDatabase) and (free := shutil.disk_usage(base.path.parent).free) < LEAST_ROOM:
        words = f"{free / 1e6:.1f} MB free beside the store: that is why, in all likelihood"
        yield Finding("disk", "fault", words, "Make room; docs/operations.md: Disk full")


def _room(condition: Condition) -> Finding:
    free = condition.free_bytes
    if condition.state != "ok":
        cure = "fhir-coprod db check" if condition.state == "damaged" else "docs/operations.md: Disk full"
        return Finding("disk", "fault", f"the store is {condition.state}", cure)
    if free is None:
        return Finding("disk", "note", "the room on PostgreSQL's disk is not known here")
    words = f"{free / 1e9:.1f} GB free beside the store"
    if free < ROOMY:
        return Finding("disk", "fault" if free < 10 * LEAST_ROOM else "warn", words, "Make room.")
    return Finding("disk", "ok", words)


# --- the EHRs -------------------------------------------------------------------------------------


async def _ask_all(settings: Settings, seen: Overview | None) -> dict[str, list[Finding]]:
    left_out = {one.name: one.left_out for one in seen.ehrs if one.left_out} if seen else {}

    async def one(ehr: EhrSettings) -> list[Finding]:
        if ehr.name in left_out:
            return [Finding(f"{ehr.name}: answers", "note", f"not asked: {left_out[ehr.name]}")]
        return await _ask(ehr)

    found = await asyncio.gather(*(one(ehr) for ehr in settings.ehr))
    return dict(zip((ehr.name for ehr in settings.ehr), found, strict=True))


async def _ask(ehr: EhrSettings) -> list[Finding]:
    """Ask an EHR for what it can do, and, signed in as a sync is, how many records of one type it has."""
    about = f"{ehr.name}: answers"
    began = datetime.now(UTC)
    try:
        client = EhrClient(ehr, politeness=Politeness(attempts=1))
    except CoprodError:  # `_secrets` has said what is missing
        return [Finding(about, "note", "not asked, as we could not sign in")]
    try:
        async with client:
            answer, statement = await client.json("metadata")
            ended = datetime.now(UTC)
            access = await client.access()
            if access.lacking:
                return [_lacking(about, access)]
            type = "Organization" if "Organization" in (ehr.types or PULLED) else ehr.types[0]
            # The statement is often for anybody: only records show whether the EHR still lets us in.
            client.require_let_in(await client.get(f"{type}?_summary=count"))
    except CoprodError as error:
        cure = f"fhir-coprod ehr check {ehr.name} tells more; if it is down for long, ehr pause."
        return [Finding(about, "fault", plain(error.message.removeprefix(f"{ehr.name}: ")), cure)]
    except Exception as error:  # noqa: BLE001 - whatever goes wrong with one EHR, the others are asked
        return [Finding(about, "fault", said(error))]
    words = f"{plain(_software(statement))} in {(ended - began).total_seconds():.1f} s"
    if access.words:
        words += f"; {plain(access.words)}"
    shown = await asyncio.to_thread(_shown, ehr)
    theirs = None if "Age" in answer.headers else answer.time  # a cache tells when it was made
    notices = [*_clock(ehr, theirs, began, ended), *_runs_out(ehr, shown, ended)]
    return [*notices, Finding(about, "ok", words)]


def _software(statement: Json) -> str:
    software = statement.get("software")
    name = software.get("name") if isinstance(software, dict) else None
    return name if isinstance(name, str) and name else "a FHIR server"


def _shown(ehr: EhrSettings) -> x509.Certificate | None:
    """The certificate by which the EHR shows who it is; None if it has none, or does not show it so."""
    parts = urlsplit(ehr.url)
    if parts.scheme != "https" or not parts.hostname:
        return None
    try:
        pem = ssl.get_server_certificate((parts.hostname, parts.port or 443), timeout=ehr.timeout)
        return x509.load_pem_x509_certificate(pem.encode())
    except (OSError, ValueError):  # it may want to see ours first; that it is trusted was found out already
        return None


def _runs_out(ehr: EhrSettings, shown: x509.Certificate | None, now: datetime) -> Iterator[Finding]:
    if shown is not None and shown.not_valid_after_utc - now < EXPIRES_SOON:
        words = f"that of the EHR itself is valid until {shown.not_valid_after_utc:%Y-%m-%d}"
        yield Finding(f"{ehr.name}: certificate", "warn", words, "Tell the EHR's people.")


def _lacking(about: str, access: Access) -> Finding:
    words = f"the token does not allow us to read {', '.join(access.lacking)}"
    return Finding(about, "fault", words, "Have it granted, or leave it out of `types`.")


def _clock(ehr: EhrSettings, theirs: datetime | None, began: datetime, ended: datetime) -> Iterator[Finding]:
    """Tells of our clock if it is far from that of the EHR."""
    if theirs is None:
        return
    behind = max((theirs - ended).total_seconds(), 0) or min((theirs - began).total_seconds(), 0)
    if abs(behind) > CLOCK_SECONDS:
        side = "behind" if behind > 0 else "ahead of"
        words = f"our clock is {abs(behind):.0f} seconds {side} the EHR's"
        yield Finding(
            f"{ehr.name}: clock", "warn", words, "Set it by NTP (timedatectl), or tell the EHR's people."
        )


def _sync(ehr: EhrOverview, now: datetime) -> Iterator[Finding]:
    """How far the EHR is known, how its last run ended, and what could not be taken in."""
    about = f"{ehr.name}: sync"
    last = ehr.runs[0] if ehr.runs else None
    tell = f"fhir-coprod sync {ehr.name} tells more."
    if ehr.pause is not None:
        yield Finding(about, "note", ehr.left_out, f"fhir-coprod ehr resume {ehr.name} ends it.")
    elif last is None:
        yield Finding(about, "fault", "never synced", f"fhir-coprod sync {ehr.name}")
    elif last.result == "cut-off":
        yield Finding(
            about, "warn", f"run {last.run} was cut off", "The next run goes on; see the system's log."
        )
    elif last.result in ("failed", "faults") and last.words:
        yield Finding(about, "fault", f"run {last.run}: {plain(last.words)}", tell)
    elif last.result == "running" and now - last.began > timedelta(days=1):
        yield Finding(about, "warn", f"run {last.run} has lasted for more than a day", "Look at its log.")
    else:
        done = "is in progress" if last.ended is None else f"ended {spoken_age(now - last.ended)} ago"
        yield Finding(about, "ok", f"run {last.run} {done}")
    if ehr.feeds and ehr.pause is None:
        yield _lag(ehr, now)
    if ehr.dead_letters:
        many = "1 record" if ehr.dead_letters == 1 else f"{ehr.dead_letters} records"
        yield Finding(f"{ehr.name}: dead letters", "fault", f"{many} could not be taken in", _LETTERS)


def _lag(ehr: EhrOverview, now: datetime) -> Finding:
    about = f"{ehr.name}: known"
    if ehr.known is None:
        types = ", ".join(feed.type for feed in ehr.feeds if feed.last_success is None)
        if ehr.runs and ehr.runs[0].result == "running":
            return Finding(about, "note", f"being read now; not whole yet: {types}")
        return Finding(about, "fault", f"never read whole: {types}", f"fhir-coprod sync {ehr.name}")
    words = f"everything up to {spoken_age(now - ehr.known)} ago"
    if ehr.is_late(now):
        cure = "Is serve, worker, a timer or cron running? After two days the watch claims nothing about it."
        return Finding(about, "fault", f"only {words}", cure)
    return Finding(about, "ok", words)


# --- the watch, and the service -------------------------------------------------------------------


def _watch(seen: Overview) -> Iterator[Finding]:
    run = "Start fhir-coprod serve or worker, or run fhir-coprod watch by cron."
    if seen.is_watched:
        yield Finding("watch", "ok", "a process watches all the time")
    elif seen.looked is None:
        yield Finding("watch", "fault", "nobody has ever watched", run)
    elif not seen.is_watched_enough:
        yield Finding("watch", "fault", f"nobody has watched for {spoken_age(seen.now - seen.looked)}", run)
    else:
        yield Finding("watch", "ok", f"last {spoken_age(seen.now - seen.looked)} ago; nobody just now")
    if seen.not_assessed:
        words = f"{seen.not_assessed} referrals could not be assessed, a fault in the program itself"
        yield Finding("referrals", "fault", words, "Please report it; fhir-coprod watch says which.")
    words = f"{seen.stalled} stalled, {seen.moving} moving as planned"
    yield Finding("referrals", "ok", words)
    if seen.unread_files:
        words = f"{seen.unread_files} records of files could not be taken in"
        yield Finding("dead letters", "fault", words, _LETTERS)


def _people(store: Store, settings: Settings, now: datetime) -> Iterator[Finding]:
    """Whether anybody takes what the watch asks for, and tells the patients."""
    with store.connect() as connection:
        alerts = open_alerts(Reader(connection, settings))
        untold = sum(
            each.is_stalled and not each.patient_informed and not each.is_telling_unseen
            for each in rows.remembered(connection, rows.STALLED)
        )
    since = [at for at in (moment(each.get("authoredOn"), settings.site.zone) for each in alerts) if at]
    if alerts and all(each["status"] == "requested" for each in alerts):
        oldest = now - min(since, default=now)
        words = f"{len(alerts)} are open, the oldest for {spoken_age(oldest)}, and nobody has taken any"
        cure = "Who looks at the board? fhir-coprod alerts list; alerts ack ID --by NAME."
        yield Finding("alerts", "warn" if oldest > UNSEEN_FOR else "note", words, cure)
    else:
        yield Finding("alerts", "ok", f"{len(alerts)} are open")
    if untold:
        words = f"patients of stalled referrals who have not been told: {untold}"
        cure = "fhir-coprod alerts letter ID; alerts release ID --by NAME."
        yield Finding("letters", "note", words, cure)


def _audit(store: Store, settings: Settings) -> Iterator[Finding]:
    """Whether what is remembered of calls can be proven to be whole."""
    if not is_remembered(store, settings):
        return
    audit = settings.audit
    if audit.heads_file is None and not audit.syslog and not isinstance(store.database, SqliteDatabase):
        words = "the ends of its chains are written down nowhere else, so its last rows may be cut off"
        cure = "Set audit.heads_file to a file on another disk or machine, or audit.syslog."
        yield Finding("audit", "warn", words, cure)
    else:
        yield Finding("audit", "ok", "calls are remembered, and the ends of the chains written down outside")


def _units(folders: Iterable[str]) -> Finding:
    """Whether systemd knows of us. Cron's tables are not looked at: they belong to other accounts."""
    found = sorted(
        {
            file.name
            for folder in folders
            for ending in ("service", "timer")
            for file in Path(folder).glob(f"fhir-coprod*.{ending}")
        }
    )
    if found:
        return Finding("service", "ok", f"systemd has {', '.join(found)}")
    return Finding(
        "service", "note", "systemd has no unit of ours", "docs/night-run.md has some, and cron's line."
    )
