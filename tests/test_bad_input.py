"""Bad input, and what it gets: a status or exit code, and a sentence that says what to do; no traceback."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import requests

from fhir_coprod.definitions import PROFILE
from tests import programs
from tests.api.server import serving
from tests.peers.shared import free_port

FHIR_JSON = {"content-type": "application/fhir+json"}
WAIT = 60
Done = subprocess.CompletedProcess[str]
PLAN = {
    "resourceType": "CarePlan",
    "status": "active",
    "intent": "plan",
    "subject": {"reference": "Patient/p"},
}


def environment() -> dict[str, str]:
    return {key: value for key, value in os.environ.items() if not key.startswith("COPROD_")}


def command(folder: Path, *arguments: str) -> Done:
    """Run fhir-coprod in a folder; nobody may see a traceback."""
    done = programs.run("fhir_coprod", *arguments, cwd=folder, env=environment())
    assert "Traceback" not in done.stderr + done.stdout, done.stderr
    return done


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Base URL of a server process on an empty store."""
    folder = tmp_path_factory.mktemp("endpoint")
    with serving(f"sqlite:///{folder / 'coprod.db'}") as served:
        yield served.url


def refused(answer: requests.Response, status: int) -> dict[str, Any]:
    """The first issue of the OperationOutcome that every refusal is."""
    assert answer.status_code == status, answer.text[:1000]
    outcome = answer.json()
    assert outcome["resourceType"] == "OperationOutcome"
    errors = [issue for issue in outcome["issue"] if issue["severity"] in ("error", "fatal")]
    issue: dict[str, Any] = errors[0]
    assert "Traceback" not in answer.text
    assert len(issue["diagnostics"]) > 20, "a sentence"
    return issue


# --- at the endpoint ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        b'{"resourceType": "CarePlan",',
        b'{"resourceType": "CarePlan", "status": "active", "status": "draft"}',
        b"[]",
        b"",
        b"\xff\xfe",
        b"{" * 500,
        b'{"a":' * 500 + b"1" + b"}" * 500,
    ],
    ids=["cut off", "key twice", "no object", "empty", "not UTF-8", "not JSON, deep", "JSON, deep"],
)
def test_invalid_json_is_400(endpoint: str, body: bytes) -> None:
    issue = refused(requests.post(f"{endpoint}/CarePlan", data=body, headers=FHIR_JSON, timeout=WAIT), 400)
    assert issue["code"] in ("structure", "invalid")


def test_unknown_type_is_404(endpoint: str) -> None:
    answer = requests.get(f"{endpoint}/CarePlans/1", timeout=WAIT)
    assert "CarePlans" in refused(answer, 404)["diagnostics"]
    body = json.dumps({"resourceType": "CarePlans"})
    refused(requests.post(f"{endpoint}/CarePlans", data=body, headers=FHIR_JSON, timeout=WAIT), 404)


def test_unknown_element_is_422_and_named(endpoint: str) -> None:
    body = json.dumps({**PLAN, "stattus": "active"})
    issue = refused(requests.post(f"{endpoint}/CarePlan", data=body, headers=FHIR_JSON, timeout=WAIT), 422)
    assert issue["code"] == "structure"
    assert "stattus" in issue["diagnostics"] + " ".join(issue["expression"])


def test_breaking_the_claimed_profile_is_422_and_says_where(endpoint: str) -> None:
    body = json.dumps({**PLAN, "meta": {"profile": [f"{PROFILE}coproduction-careplan"]}})
    issue = refused(requests.post(f"{endpoint}/CarePlan", data=body, headers=FHIR_JSON, timeout=WAIT), 422)
    assert issue["expression"][0].startswith("CarePlan")


def test_body_of_50_megabytes_is_413_and_not_read_into_memory(endpoint: str) -> None:
    def chunks() -> Iterator[bytes]:
        yield b'{"resourceType": "CarePlan", "title": "'
        for _ in range(50):
            yield b"x" * 1_000_000
        yield b'"}'

    body = b"".join(chunks())
    try:
        answer = requests.post(f"{endpoint}/CarePlan", data=body, headers=FHIR_JSON, timeout=WAIT)
    except requests.ConnectionError:
        pytest.fail("the connection was cut before the refusal could be read")
    assert refused(answer, 413)["code"] == "too-long"
    # Nothing says how long it will be: counted while it comes.
    try:
        answer = requests.post(f"{endpoint}/CarePlan", data=chunks(), headers=FHIR_JSON, timeout=WAIT)
    except requests.ConnectionError:
        pytest.fail("the connection was cut before the refusal could be read")
    assert refused(answer, 413)["code"] == "too-long"
    assert requests.get(f"{endpoint}/metadata", timeout=WAIT).status_code == 200


def test_wrong_search_and_wrong_version_are_400(endpoint: str) -> None:
    refused(requests.get(f"{endpoint}/CarePlan?date=yesterday", timeout=WAIT), 400)
    answer = requests.put(
        f"{endpoint}/CarePlan/a",
        data=json.dumps({**PLAN, "id": "a"}),
        headers={**FHIR_JSON, "if-match": "seven"},
        timeout=WAIT,
    )
    refused(answer, 400)


# --- at the command line --------------------------------------------------------------------------


def test_wrong_config_key_ends_with_2_and_names_the_right_ones(tmp_path: Path) -> None:
    (tmp_path / "coprod.toml").write_text('[store]\nurll = "sqlite:///x.db"\n')
    done = command(tmp_path, "db", "check")
    assert done.returncode == 2
    assert "urll" in done.stderr
    assert "known keys here: url" in " ".join(done.stderr.split())


def test_unreadable_config_ends_with_2(tmp_path: Path) -> None:
    (tmp_path / "coprod.toml").write_text("[store\n")
    done = command(tmp_path, "db", "check")
    assert done.returncode == 2
    assert "not valid TOML" in done.stderr
    done = command(tmp_path, "--config", "elsewhere.toml", "db", "check")
    assert done.returncode == 2
    assert "elsewhere.toml" in done.stderr


@pytest.mark.parametrize("command_name", ["serve", "worker"])
@pytest.mark.parametrize(
    "section",
    ["[watch]\npolicy =", "[watch]\nwords =", "[sync]\nidentifiers ="],
    ids=["policy", "words", "ids"],
)
def test_nothing_starts_with_settings_that_name_a_missing_file(
    tmp_path: Path, section: str, command_name: str
) -> None:
    named = '["no.toml"]' if "words" in section else '"no.toml"'
    (tmp_path / "coprod.toml").write_text(f'{section} {named}\n[store]\nurl = "sqlite:///x.db"\n')
    done = command(tmp_path, command_name, *(["--port", "0"] if command_name == "serve" else []))
    assert (done.returncode, done.stdout) == (2, "")
    assert "no.toml" in done.stderr
    assert not (tmp_path / "x.db").exists()


@pytest.mark.parametrize("url", ["mysql://x/y", "sqlite:////proc/nowhere/coprod.db"])
def test_store_that_cannot_be_opened_ends_with_2(tmp_path: Path, url: str) -> None:
    (tmp_path / "coprod.toml").write_text(f'[store]\nurl = "{url}"\n')
    done = command(tmp_path, "watch", "--json")
    assert done.returncode == 2
    assert len(done.stderr.strip()) > 20


def with_ehr(folder: Path, url: str) -> Path:
    (folder / "coprod.toml").write_text(
        f'[store]\nurl = "sqlite:///{folder / "coprod.db"}"\n[[ehr]]\nname = "orthopaedics"\nurl = "{url}"\n'
    )
    return folder


ASKING = [("ehr", "check"), ("sync",)]


@pytest.fixture(scope="module")
def unanswered(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, ...], Future[Done]]:
    """What each command says of an EHR that does not answer; side by side, as both try several times."""
    with ThreadPoolExecutor() as pool:
        nobody = f"http://127.0.0.1:{free_port()}/fhir"
        folders = [with_ehr(tmp_path_factory.mktemp("unanswered"), nobody) for _ in ASKING]
        return {
            asked: pool.submit(command, folder, *asked) for asked, folder in zip(ASKING, folders, strict=True)
        }


@pytest.mark.parametrize("arguments", ASKING)
def test_unreachable_ehr_ends_with_1_and_is_named(
    unanswered: dict[tuple[str, ...], Future[Done]], arguments: tuple[str, ...]
) -> None:
    done = unanswered[arguments].result()
    assert done.returncode == 1
    assert "orthopaedics" in done.stderr


@pytest.mark.parametrize("arguments", ASKING)
def test_ehr_that_answers_html_ends_with_1_and_says_so(
    tmp_path: Path, login_page: str, arguments: tuple[str, ...]
) -> None:
    done = command(with_ehr(tmp_path, login_page), *arguments)
    assert done.returncode == 1
    assert "orthopaedics" in done.stderr
    assert "HTML" in done.stderr


def test_ehr_in_trouble_does_not_stop_the_others(tmp_path: Path, login_page: str, endpoint: str) -> None:
    with_ehr(tmp_path, login_page)
    settings = tmp_path / "coprod.toml"
    settings.write_text(settings.read_text() + f'[[ehr]]\nname = "imaging"\nurl = "{endpoint}"\n')
    done = command(tmp_path, "sync", "--json")
    assert done.returncode == 1
    reports = {report["ehr"]: report for report in json.loads(done.stdout)}
    assert reports["orthopaedics"]["error"]
    assert reports["imaging"]["ok"]


@pytest.fixture
def login_page() -> Iterator[str]:
    """An address that answers every request with a page for people, as gateways in front of EHRs do."""

    class Gateway(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            page = b"<!DOCTYPE html><html><body>Please log in</body></html>"
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.send_header("content-length", str(len(page)))
            self.end_headers()
            self.wfile.write(page)

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Gateway)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/fhir"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("{", "JSON"),
        ('{"resourceType": "CarePlans"}', "CarePlans"),
        (json.dumps({**PLAN, "stattus": "active"}), "stattus"),
    ],
    ids=["invalid JSON", "unknown type", "unknown element"],
)
def test_validate_ends_with_1_and_says_what_is_wrong(tmp_path: Path, content: str, says: str) -> None:
    (tmp_path / "resource.json").write_text(content)
    done = command(tmp_path, "validate", "resource.json")
    assert done.returncode == 1
    assert says in done.stdout + done.stderr


def test_validate_with_a_profile_nobody_knows_ends_with_2(tmp_path: Path) -> None:
    (tmp_path / "resource.json").write_text(json.dumps(PLAN))
    done = command(tmp_path, "validate", "resource.json", "--profile", "https://example.org/nobody")
    assert done.returncode == 2
    assert "https://example.org/nobody" in done.stdout + done.stderr


def test_validate_a_file_that_is_not_there_ends_with_2(tmp_path: Path) -> None:
    done = command(tmp_path, "validate", "nothing.json")
    assert done.returncode == 2
    assert "nothing.json" in done.stderr
