"""npm's oidc-provider: an OpenID provider and authorization server that nobody here wrote.

It starts in a second, so each test has one of its own, with the clients, accounts and resources that it names
(see `oidcprovider/provider.mjs`).
"""

from __future__ import annotations

import json
import shutil
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.peers.registry import Peer, register
from tests.peers.shared import PeerFailed, free_port

Json = dict[str, Any]
_FOLDER = Path(__file__).parent / "oidcprovider"
_PACKAGE = _FOLDER / "node_modules" / "oidc-provider" / "package.json"


def _found() -> str | None:
    if not (_PACKAGE.exists() and shutil.which("node")):
        return None
    return str(json.loads(_PACKAGE.read_text())["version"])


PEER = register(Peer("oidc-provider", _found, "run: python scripts/install_peers.py"))


@contextmanager
def providing(
    clients: Sequence[Json] = (),
    accounts: Mapping[str, Json] | None = None,
    resources: Mapping[str, Json] | None = None,
) -> Iterator[str]:
    """Run one; gives its issuer, and ends it.

    clients:   OpenID metadata of each, such as client_id, client_secret, redirect_uris
    accounts:  the claims of each person, by the name with which they sign in
    resources: by indicator the scope, audience and further claims of access tokens for it
    """
    settings = {"port": free_port(), "clients": [*clients], "accounts": dict(accounts or {})}
    settings["resources"] = dict(resources or {})
    process = subprocess.Popen(
        ["node", str(_FOLDER / "provider.mjs")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        process.stdin.write(json.dumps(settings) + "\n")
        process.stdin.flush()
        said = ""
        for line in process.stdout:
            if line.startswith("listening on "):
                said = line.removeprefix("listening on ").strip()
                break
        if not said:
            raise PeerFailed(f"oidc-provider did not start: {process.stderr.read()}")
        yield said
    finally:
        process.kill()
        process.communicate()


def access_token(issuer: str, client: str, secret: str, scope: str, resource: str) -> str:
    """A token that a client gets for itself (client_credentials)."""
    form = {
        "grant_type": "client_credentials",
        "client_id": client,
        "client_secret": secret,
        "scope": scope,
        "resource": resource,
    }
    request = urllib.request.Request(f"{issuer}/token", data=urllib.parse.urlencode(form).encode())
    with urllib.request.urlopen(request, timeout=30) as answer:
        return str(json.loads(answer.read())["access_token"])
