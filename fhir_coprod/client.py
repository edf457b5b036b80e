"""A blocking FHIR R4 client for Python programs: read, search, write and validate resources on a server.

    with Client("https://coprod.example/fhir") as client:
        for referral in client.search("ServiceRequest", {"status": "active", "_count": 100}):
            referral["priority"] = "urgent"
            client.update(referral)          # refused if somebody else changed it meanwhile
        goal = client.create(CoproductionGoal.in_own_words("Walk", patient="Patient/1"))
        goal = client.read("Goal", goal.id, into=CoproductionGoal)

It takes dicts, JSON as bytes or text, and models of `fhir.resources`, our profile classes among them, and
gives back the same. A dict may hold models, such as the entries of a transaction. `into` says what `read`,
`history` and `search` shall give.

Numbers with a decimal point arrive as `decimal.Decimal`, so 19.00 stays 19.00 when it is written back.
Errors are those of `fhir_coprod.errors`, each with the server's OperationOutcome as `.outcome`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar, overload
from urllib.parse import urlencode, urljoin, urlsplit

import msgspec
import requests
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase
from urllib3.exceptions import NewConnectionError
from urllib3.exceptions import TimeoutError as TimeoutError_
from urllib3.util.retry import Retry

from fhir_coprod import jsontext, models
from fhir_coprod.errors import (
    BadRequest,
    Conflict,
    CoprodError,
    EhrAnswer,
    EhrUnreachable,
    Gone,
    InvalidResource,
    MethodNotAllowed,
    NotAcceptable,
    NotAllowed,
    NotFound,
    Overloaded,
    PreconditionFailed,
    TooLarge,
    UnsupportedMediaType,
)
from fhir_coprod.jsontext import Document
from fhir_coprod.models import Model
from fhir_coprod.outcome import Issue, Outcome

Resource = dict[str, Any]
M = TypeVar("M", bound=bytes | str | Model)
"""What resources may be besides a dict: JSON as bytes or text, or a class that models them."""
Parameters = Mapping[str, "str | int | Sequence[str]"] | Sequence[tuple[str, str]]
Auth = AuthBase | tuple[str, str] | str

_FHIR_JSON = "application/fhir+json"
_ERRORS: dict[int, type[CoprodError]] = {
    400: BadRequest,
    401: NotAllowed,
    403: NotAllowed,
    404: NotFound,
    405: MethodNotAllowed,
    406: NotAcceptable,
    409: Conflict,
    410: Gone,
    412: PreconditionFailed,
    413: TooLarge,
    415: UnsupportedMediaType,
    422: InvalidResource,
    429: Overloaded,
    503: Overloaded,
}
_ADVICE = {
    PreconditionFailed: "Somebody changed it meanwhile: read it again, make your change to that, and update.",
    Conflict: "Read it again; if somebody changed it meanwhile, make your change to that, and update.",
    Gone: "It was deleted; its history can still be read.",
    Overloaded: "The server is busy; try again in a moment.",
}
_SEVERITIES = ("fatal", "error", "warning", "information")


class Client:
    """One FHIR R4 server.

    base_url: its FHIR root, such as https://coprod.example/fhir
    auth:     a bearer token as text, (user, password), or any `requests` auth object
    timeout:  seconds to wait for one answer
    retries:  how often a request that changes nothing is repeated when the connection fails or the server
              answers 429, 502, 503 or 504; requests that change something are never repeated
    """

    def __init__(
        self, base_url: str, auth: Auth | None = None, *, timeout: float = 30.0, retries: int = 3
    ) -> None:
        if not re.match(r"https?://[^/]", base_url):
            raise BadRequest(
                f"base_url must be an address such as https://coprod.example/fhir, not {base_url!r}."
            )
        self.base_url = base_url.rstrip("/")
        self._timeout = timeout
        self._session = requests.Session()
        self._session.headers["Accept"] = _FHIR_JSON
        if isinstance(auth, str):
            self._session.auth = _Bearer(auth)
        elif auth is not None:
            self._session.auth = auth
        policy = Retry(
            total=retries,
            allowed_methods=frozenset({"GET", "HEAD"}),
            status_forcelist=(429, 502, 503, 504),
            backoff_factor=0.2,
            raise_on_status=False,
        )
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, HTTPAdapter(max_retries=policy))

    def __repr__(self) -> str:
        """Which server, without a password that its address may hold."""
        parts = urlsplit(self.base_url)
        return f"Client({f'{parts.scheme}://{_host(self.base_url)}{parts.path}'!r})"

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # ------------------------------------------------------------------------------------------- reading

    def capabilities(self) -> Resource:
        """The server's CapabilityStatement."""
        return self._resource("GET", "metadata")

    @overload
    def read(self, type: str, id: str, version: str | int | None = None) -> Resource: ...
    @overload
    def read(self, type: str, id: str, version: str | int | None = None, *, into: type[M]) -> M: ...
    def read(self, type: str, id: str, version: str | int | None = None, *, into: type[Any] = dict) -> Any:
        """The current version of a resource, or one named version. Raises NotFound or Gone.

        into: bytes, str, or a class of `fhir.resources` or `fhir_coprod.profiles`; InvalidResource if it is
              none of that class
        """
        path = f"{type}/{id}" + (f"/_history/{version}" if version is not None else "")
        return _given(self._send("GET", path, None, {}), into)

    @overload
    def history(self, type: str, id: str) -> Iterator[Resource]: ...
    @overload
    def history(self, type: str, id: str, *, into: type[M]) -> Iterator[M]: ...
    def history(self, type: str, id: str, *, into: type[Any] = dict) -> Iterator[Any]:
        """Every version of a resource that is not a deletion, the newest first."""
        for entry in self._entries(f"{type}/{id}/_history", None):
            if "resource" in entry:
                yield _made(entry["resource"], into)

    @overload
    def search(self, type: str, parameters: Parameters | None = None) -> Iterator[Resource]: ...
    @overload
    def search(self, type: str, parameters: Parameters | None = None, *, into: type[M]) -> Iterator[M]: ...
    def search(
        self, type: str, parameters: Parameters | None = None, *, into: type[Any] = dict
    ) -> Iterator[Any]:
        """Every match, fetched page by page as you iterate; resources added by _include are left out.

        parameters: {"status": "active", "_count": 100}; a list of values repeats the parameter (AND)
        into:       as for `read`. A profile class asks for no profile by itself; `_profile` does.
        """
        for entry in self._entries(type, parameters):
            if entry.get("search", {}).get("mode", "match") == "match" and "resource" in entry:
                yield _made(entry["resource"], into)

    def search_entries(self, type: str, parameters: Parameters | None = None) -> Iterator[Resource]:
        """Every Bundle.entry of a search, matches and includes, fetched page by page."""
        return self._entries(type, parameters)

    def count(self, type: str, parameters: Parameters | None = None) -> int:
        """How many resources match."""
        answer = self._resource("GET", type, parameters=[*_pairs(parameters), ("_summary", "count")])
        total = answer.get("total")
        if not isinstance(total, int):
            raise EhrAnswer("The server gave no total; count what `search` yields instead.")
        return total

    def _entries(self, path: str, parameters: Parameters | None) -> Iterator[Resource]:
        seen: set[str] = set()
        page = self._resource("GET", path, parameters=_pairs(parameters))
        while True:
            yield from page.get("entry", ())
            url = next((link["url"] for link in page.get("link", ()) if link.get("relation") == "next"), None)
            if url is None:
                return
            if url in seen:
                raise EhrAnswer("The server's next links run in a circle; narrow the search.")
            seen.add(url)
            page = self._resource("GET", self._own(url))

    def _own(self, url: str) -> str:
        """The absolute address of a link; raises EhrAnswer when it leads to a different host."""
        absolute = urljoin(f"{self.base_url}/", url)
        ours, theirs = urlsplit(self.base_url), urlsplit(absolute)
        if (ours.scheme, ours.netloc) != (theirs.scheme, theirs.netloc):
            raise EhrAnswer(
                f"The server's next link leads to {_host(absolute)}, and credentials do not go there; "
                "set the server's public address (site.base_url) to the one you call."
            )
        return absolute

    # ------------------------------------------------------------------------------------------- writing

    @overload
    def create(self, resource: Resource, *, if_none_exist: Parameters | None = None) -> Resource: ...
    @overload
    def create(self, resource: M, *, if_none_exist: Parameters | None = None) -> M: ...
    def create(self, resource: Any, *, if_none_exist: Parameters | None = None) -> Any:
        """Store a new resource and return it as the server stored it, with its id, as what you gave.

        if_none_exist: search parameters; if they find one resource, it is returned and nothing is stored
        """
        document = _document(resource, "create")
        headers = {}
        if if_none_exist is not None:
            headers["If-None-Exist"] = urlencode(_pairs(if_none_exist))
        return self._stored(self._send("POST", document.type, document, headers), resource)

    @overload
    def update(self, resource: Resource, *, any_version: bool = False) -> Resource: ...
    @overload
    def update(self, resource: M, *, any_version: bool = False) -> M: ...
    def update(self, resource: Any, *, any_version: bool = False) -> Any:
        """Replace a resource by its id, or create it under that id; returns it as what you gave.

        Only the version in `meta.versionId` is replaced: if that is no longer the newest, the update raises
        PreconditionFailed and changes nothing. `any_version` overwrites whatever is stored.
        """
        document = _document(resource, "update")
        id = document.data.get("id")
        if not isinstance(id, str):
            raise BadRequest("An update needs the resource's id; use create for a new one.")
        meta = document.data.get("meta")
        version = meta.get("versionId") if isinstance(meta, dict) else None
        headers = {"If-Match": f'W/"{version}"'} if version is not None and not any_version else {}
        return self._stored(self._send("PUT", f"{document.type}/{id}", document, headers), resource)

    def patch(
        self, type: str, id: str, operations: Sequence[Mapping[str, Any]], *, version: str | None = None
    ) -> Resource:
        """Change parts of a resource by JSON Patch; with `version`, only if that is still the newest."""
        headers = {"Content-Type": "application/json-patch+json"}
        if version is not None:
            headers["If-Match"] = f'W/"{version}"'
        return _object(self._written(self._send("PATCH", f"{type}/{id}", list(operations), headers)))

    def delete(self, type: str, id: str, *, version: str | None = None) -> None:
        """Delete a resource; it is no error if it does not exist (any more)."""
        self._send(
            "DELETE", f"{type}/{id}", None, {"If-Match": f'W/"{version}"'} if version is not None else {}
        )

    def transaction(self, bundle: Resource | bytes | str | Model) -> Resource:
        """Perform a Bundle of type transaction or batch, and return the response Bundle."""
        return _object(self._written(self._send("POST", "", _document(bundle, "transaction"), {})))

    def validate(self, resource: Resource | bytes | str | Model, profile: str | None = None) -> Outcome:
        """What the server's validator says; nothing is stored."""
        document = _document(resource, "validate")
        path = f"{document.type}/$validate"
        answer = self._send("POST", path, document, {}, [("profile", profile)] if profile else [])
        outcome = _outcome(_object(self._written(answer)))
        if outcome is None:
            raise EhrAnswer("The server answered $validate with something that is not an OperationOutcome.")
        return outcome

    def _stored(self, answer: requests.Response, given: object) -> Any:
        """What the server stored, as what was given."""
        return _given(self._written(answer), dict if isinstance(given, Mapping) else type(given))

    def _written(self, answer: requests.Response) -> requests.Response:
        if not answer.content:
            raise EhrAnswer("The server stored it but sent nothing back; read it again.")
        return answer

    # ------------------------------------------------------------------------------------------- the wire

    def _resource(self, method: str, path: str, *, parameters: Sequence[tuple[str, str]] = ()) -> Resource:
        return _object(self._send(method, path, None, {}, parameters))

    def _send(
        self,
        method: str,
        path: str,
        body: Any,
        headers: Mapping[str, str],
        parameters: Sequence[tuple[str, str]] = (),
    ) -> requests.Response:
        sent = body.raw if isinstance(body, Document) else None if body is None else models.encode(body)
        url = path if path.startswith(("http://", "https://")) else f"{self.base_url}/{path}".rstrip("/")
        try:
            answer = self._session.request(
                method,
                url,
                params=list(parameters),
                data=sent,
                headers={**({"Content-Type": _FHIR_JSON} if body is not None else {}), **headers},
                timeout=self._timeout,
                # A redirected write would be repeated as a read, and seem to have been done.
                allow_redirects=method == "GET",
            )
        except requests.RequestException as error:
            what = f"could not be reached ({type(error).__name__})"
            if _is_timeout(error):
                what = f"did not answer within {self._timeout:g} seconds"
            raise EhrUnreachable(self._unsure(method, what)) from None
        if answer.status_code >= 400:
            raise _error(answer)
        if answer.is_redirect:
            raise EhrAnswer(
                f"The server has moved to {_host(answer.headers['location'])}, so nothing was done there; "
                "correct base_url."
            )
        return answer

    def _unsure(self, method: str, what: str) -> str:
        doubt = "" if method == "GET" else " It may have been done all the same: read before you repeat it."
        return f"The server at {_host(self.base_url)} {what}.{doubt}"


def _host(url: str) -> str:
    """Host and port of an address, without anything else it may contain, such as a password."""
    return urlsplit(url).netloc.rpartition("@")[2] or "another path"


class _Bearer(AuthBase):
    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


def _is_timeout(error: requests.RequestException) -> bool:
    """Whether it is a timeout; that of a read which ran out of retries is wrapped twice.

    A refused connection is one by urllib3's class, and nobody waited.
    """
    cause = getattr(error.args[0] if error.args else None, "reason", None)
    if isinstance(cause, NewConnectionError):
        return False
    return isinstance(error, requests.Timeout) or isinstance(cause, TimeoutError_)


def _pairs(parameters: Parameters | None) -> list[tuple[str, str]]:
    if parameters is None:
        return []
    if not isinstance(parameters, Mapping):
        return [(name, str(value)) for name, value in parameters]
    return [
        (name, str(value))
        for name, values in parameters.items()
        for value in ([values] if isinstance(values, (str, int)) else values)
    ]


def _document(resource: object, taker: str) -> Document:
    """A resource to send. Raises BadRequest (NotJson) for what is none, and TypeError."""
    document = jsontext.parse(models.json_of(resource, taker))
    if not document.type:
        raise BadRequest("The resource has no resourceType.")
    return document


def _given(answer: requests.Response, kind: type[Any]) -> Any:
    """The resource in an answer, as a dict, as JSON or as a class."""
    resource = _object(answer)
    return _made(resource, kind, answer.content)


def _made(resource: Resource, kind: type[Any], raw: bytes | None = None) -> Any:
    """The same for a resource that was decoded already. Raises InvalidResource if the class refuses it."""
    if kind is dict:
        return resource
    if not _is_form(kind):
        raise TypeError("`into` is dict, bytes, str, or a class of fhir.resources or fhir_coprod.profiles.")
    raw = models.encode(resource) if raw is None else raw
    if issubclass(kind, (bytes, str)):
        return raw if issubclass(kind, bytes) else raw.decode()
    if hasattr(kind, "read"):  # our own classes keep the text
        return kind.read(raw)
    try:
        return kind.model_validate(resource)
    except ValueError:
        name = f"{kind.__module__}.{kind.__name__}"
        raise InvalidResource(f"What the server has is not a {name}; read it as a dict.") from None


def _is_form(kind: Any) -> bool:
    """Whether resources can be had as this."""
    return isinstance(kind, type) and (issubclass(kind, (bytes, str)) or hasattr(kind, "model_validate"))


def _object(answer: requests.Response) -> Resource:
    try:
        content = jsontext.decode_decimals(answer.content)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        content = None
    if not isinstance(content, dict):
        kind = answer.headers.get("content-type", "nothing")[:60]
        raise EhrAnswer(
            f"The server answered {answer.status_code} with {kind} instead of FHIR JSON; check base_url."
        )
    return content


def _error(answer: requests.Response) -> CoprodError:
    """The error for an HTTP status, with the server's own message and what to do."""
    kind = _ERRORS.get(answer.status_code, EhrAnswer)
    try:
        outcome = _outcome(_object(answer))
    except EhrAnswer:
        outcome = None
    said = (
        "; ".join(issue.message for issue in outcome.errors[:3] if issue.message)
        if outcome is not None
        else ""
    )
    words = [f"{answer.request.method} was answered {answer.status_code}.", said, _ADVICE.get(kind, "")]
    return kind(" ".join(word for word in words if word), outcome=outcome)


def _outcome(resource: Resource) -> Outcome | None:
    """An OperationOutcome as `Outcome`; None when it is something else."""
    if resource.get("resourceType") != "OperationOutcome":
        return None
    return Outcome(
        tuple(
            Issue(
                issue["severity"] if issue.get("severity") in _SEVERITIES else "error",
                str(issue.get("code", "")),
                str(issue.get("diagnostics") or issue.get("details", {}).get("text") or ""),
                next(iter(issue.get("expression", ())), ""),
            )
            for issue in resource.get("issue", ())
            if isinstance(issue, dict)
        )
    )
