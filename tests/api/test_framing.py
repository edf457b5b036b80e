"""Requests framed oddly, as RFC 9112 says: what is refused, what is taken, and that none hides in another.

Each is sent on a connection of its own. A refused one ends its connection, so that nothing that comes behind
it can be taken for a request.
"""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator
from contextlib import suppress

import pytest

from tests.api.server import Served, serving

BODY = b'{"resourceType":"Basic","code":{"text":"x"}}'


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(f"sqlite:///{tmp_path_factory.mktemp('framing') / 'store.db'}") as running:
        yield running


def talk(served: Served, *parts: bytes) -> list[tuple[int, bytes]]:
    """Status and body of all answers on one connection that is closed when nothing more comes."""
    with served.connect() as connection:
        with suppress(ConnectionError):
            for part in parts:
                connection.sendall(part)
        return answers(connection)


def answers(connection: socket.socket) -> list[tuple[int, bytes]]:
    """What comes until the other side closes."""
    received = b""
    with suppress(ConnectionResetError):
        while chunk := connection.recv(65_536):
            received += chunk
    return apart(received)


def apart(received: bytes) -> list[tuple[int, bytes]]:
    """Answers one behind the other."""
    found = []
    while received:
        head, _, rest = received.partition(b"\r\n\r\n")
        length = re.search(rb"\r\ncontent-length: (\d+)", head, re.IGNORECASE)
        size = int(length[1]) if length else 0
        found.append((int(head.split()[1]), rest[:size]))
        received = rest[size:]
    return found


def read(
    target: bytes = b"/fhir/metadata?_elements=status", version: bytes = b"HTTP/1.1", *lines: bytes
) -> bytes:
    return b"\r\n".join((b"GET " + target + b" " + version, *lines, b"Connection: close", b"", b""))


def post(*lines: bytes, body: bytes = BODY, version: bytes = b"HTTP/1.1") -> bytes:
    first = (b"POST /fhir/Basic " + version, b"Host: localhost", b"Content-Type: application/fhir+json")
    return b"\r\n".join((*first, *lines, b"Connection: close", b"", body))


def chunked(*pieces: bytes, last: bytes = b"0\r\n\r\n") -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + last


LENGTH = b"Content-Length: %d" % len(BODY)
CHUNKED = b"Transfer-Encoding: chunked"
HOST = b"Host: localhost"
CHUNKS = chunked(BODY[:7], BODY[7:])

ODD: dict[str, tuple[bytes, int]] = {
    # How the body is delimited: 6.1 to 6.3.
    "a coding under chunked": (post(b"Transfer-Encoding: gzip, chunked", body=CHUNKS), 501),
    "an unknown coding under chunked": (post(b"Transfer-Encoding: x, chunked", body=CHUNKS), 501),
    "codings in two headers": (post(b"Transfer-Encoding: gzip", CHUNKED, body=CHUNKS), 501),
    "an empty coding before chunked": (post(b"Transfer-Encoding: , chunked", body=CHUNKS), 501),
    "chunked is not the last": (post(b"Transfer-Encoding: chunked, gzip", body=CHUNKS), 400),
    "chunked twice": (post(b"Transfer-Encoding: chunked, chunked", body=CHUNKS), 400),
    "chunked in two headers": (post(CHUNKED, CHUNKED, body=CHUNKS), 400),
    "chunked, then another header": (post(CHUNKED, b"Transfer-Encoding: x", body=CHUNKS), 400),
    "another coding": (post(b"Transfer-Encoding: gzip", body=CHUNKS), 501),
    "identity": (post(b"Transfer-Encoding: identity", body=CHUNKS), 501),
    "almost chunked": (post(b"Transfer-Encoding: xchunked", body=CHUNKS), 501),
    "chunked in quotes": (post(b'Transfer-Encoding: "chunked"', body=CHUNKS), 501),
    "chunked with a parameter": (post(b"Transfer-Encoding: chunked;q=1", body=CHUNKS), 501),
    "a vertical tab before chunked": (post(b"Transfer-Encoding: \x0bchunked", body=CHUNKS), 400),
    "NUL after chunked": (post(b"Transfer-Encoding: chunked\x00", body=CHUNKS), 400),
    "no coding": (post(b"Transfer-Encoding:", body=CHUNKS), 400),
    "a coding in HTTP/1.0": (post(CHUNKED, body=CHUNKS, version=b"HTTP/1.0"), 400),
    "a coding, then a length": (post(CHUNKED, LENGTH, body=CHUNKS), 400),
    "a length, then a coding": (post(LENGTH, CHUNKED, body=CHUNKS), 400),
    "two lengths": (post(LENGTH, b"Content-Length: 3"), 400),
    "the same length twice": (post(LENGTH, LENGTH), 400),
    "a list of lengths": (post(LENGTH + b", %d" % len(BODY)), 400),
    "a length with a sign": (post(b"Content-Length: +%d" % len(BODY)), 400),
    "a length below nothing": (post(b"Content-Length: -1"), 400),
    "a hexadecimal length": (post(b"Content-Length: 0x2c"), 400),
    "a length that is no integer": (post(LENGTH + b".0"), 400),
    "no length": (post(b"Content-Length:"), 400),
    "a length out of all reason": (post(b"Content-Length: 99999999999999999999"), 400),
    "wide digits": (post(b"Content-Length: \xef\xbc\x94\xef\xbc\x94"), 400),
    # Chunks: 7.1.
    "a chunk's size without CR": (post(CHUNKED, body=CHUNKS.replace(b"7\r\n", b"7\n")), 400),
    "a chunk without its end": (post(CHUNKED, body=b"2c\r\n" + BODY + b"0\r\n\r\n"), 400),
    "a chunk longer than its size": (post(CHUNKED, body=b"2\r\n" + BODY + b"\r\n0\r\n\r\n"), 400),
    "a size with a sign": (post(CHUNKED, body=b"+2c\r\n" + BODY + b"\r\n0\r\n\r\n"), 400),
    "a size with 0x": (post(CHUNKED, body=b"0x2c\r\n" + BODY + b"\r\n0\r\n\r\n"), 400),
    "a size with _": (post(CHUNKED, body=b"2_c\r\n" + BODY + b"\r\n0\r\n\r\n"), 400),
    "a size with a space": (post(CHUNKED, body=b"2c \r\n" + BODY + b"\r\n0\r\n\r\n"), 400),
    "a size out of all reason": (post(CHUNKED, body=b"f" * 17 + b"\r\n" + BODY + b"\r\n0\r\n\r\n"), 400),
    "no size": (post(CHUNKED, body=b"\r\n" + BODY + b"\r\n0\r\n\r\n"), 400),
    "an extension with LF": (post(CHUNKED, body=b"2c;a\nb\r\n" + BODY + b"\r\n0\r\n\r\n"), 400),
    "an extension with CR": (post(CHUNKED, body=b"2c;a\rb\r\n" + BODY + b"\r\n0\r\n\r\n"), 400),
    "an extension with a line in quotes": (
        post(CHUNKED, body=b'2c;a="\r\n"\r\n' + BODY + b"\r\n0\r\n\r\n"),
        400,
    ),
    "a trailer without CR": (post(CHUNKED, body=chunked(BODY, last=b"0\r\nX: y\nA: b\r\n\r\n")), 400),
    "a length among the trailers": (
        post(CHUNKED, body=chunked(BODY, last=b"0\r\nContent-Length: 5\r\n\r\n")),
        400,
    ),
    # Lines and fields: 2.2 and 5.
    "lines that end in LF": (b"GET /fhir/metadata HTTP/1.1\nHost: localhost\n\n", 400),
    "one line that ends in LF": (read(b"/fhir/metadata", b"HTTP/1.1", HOST + b"\nX: y"), 400),
    "a head that ends in LF": (b"GET /fhir/metadata HTTP/1.1\r\nHost: localhost\r\n\nGET", 400),
    "CR in a value": (read(b"/fhir/metadata", b"HTTP/1.1", HOST, b"X: a\rb"), 400),
    "NUL in a value": (read(b"/fhir/metadata", b"HTTP/1.1", HOST, b"X: a\x00b"), 400),
    "a control in a value": (read(b"/fhir/metadata", b"HTTP/1.1", HOST, b"X: a\x01b"), 400),
    "NUL in a name": (read(b"/fhir/metadata", b"HTTP/1.1", HOST, b"X\x00: a"), 400),
    "a space before the colon": (read(b"/fhir/metadata", b"HTTP/1.1", HOST, b"X : a"), 400),
    "a folded value": (read(b"/fhir/metadata", b"HTTP/1.1", HOST, b"X: a\r\n b"), 400),
    "a folded value that begins empty": (post(b"Transfer-Encoding:\r\n chunked", body=CHUNKS), 400),
    "a space before the first field": (read(b"/fhir/metadata", b"HTTP/1.1", b" X: a", HOST), 400),
    "a field without a name": (read(b"/fhir/metadata", b"HTTP/1.1", HOST, b": a"), 400),
    "a field without a colon": (read(b"/fhir/metadata", b"HTTP/1.1", HOST, b"X"), 400),
    "a name that is no token": (read(b"/fhir/metadata", b"HTTP/1.1", HOST, b"X[1]: a"), 400),
    # Host: 3.2.
    "no Host": (read(b"/fhir/metadata"), 400),
    "an empty Host": (read(b"/fhir/metadata", b"HTTP/1.1", b"Host:"), 400),
    "a Host of spaces": (read(b"/fhir/metadata", b"HTTP/1.1", b"Host:  \t "), 400),
    "two Hosts": (read(b"/fhir/metadata", b"HTTP/1.1", HOST, b"Host: evil.example"), 400),
    "the same Host twice": (read(b"/fhir/metadata", b"HTTP/1.1", HOST, HOST), 400),
    "two Hosts in HTTP/1.0": (read(b"/fhir/metadata", b"HTTP/1.0", HOST, HOST), 400),
    "a Host with a user": (read(b"/fhir/metadata", b"HTTP/1.1", b"Host: evil@localhost"), 400),
    "a Host with a path": (read(b"/fhir/metadata", b"HTTP/1.1", b"Host: localhost/fhir"), 400),
    "a Host with a scheme": (read(b"/fhir/metadata", b"HTTP/1.1", b"Host: http://localhost"), 400),
    "a Host with a space": (read(b"/fhir/metadata", b"HTTP/1.1", b"Host: localhost evil"), 400),
    "a Host with a port that is no number": (read(b"/fhir/metadata", b"HTTP/1.1", b"Host: localhost:x"), 400),
    "a list of Hosts": (read(b"/fhir/metadata", b"HTTP/1.1", b"Host: localhost, localhost"), 400),
    "the Host of a page, too": (read(b"/health"), 400),
    "another server's Host": (read(b"/fhir/metadata", b"HTTP/1.1", b"Host: evil.example"), 421),
    # The request line: 3.
    "a whole URL of another server": (read(b"http://evil.example/fhir/metadata", b"HTTP/1.1", HOST), 421),
    "a whole URL with a user": (read(b"http://a@localhost/fhir/metadata", b"HTTP/1.1", HOST), 400),
    "a whole URL of another kind": (read(b"ftp://localhost/fhir/metadata", b"HTTP/1.1", HOST), 400),
    "a whole URL without a host": (read(b"http:///fhir/metadata", b"HTTP/1.1", HOST), 400),
    "a target that is no path": (read(b"fhir/metadata", b"HTTP/1.1", HOST), 400),
    "a target of *": (read(b"*", b"HTTP/1.1", HOST), 400),
    "a target with a fragment": (read(b"/fhir/metadata#a", b"HTTP/1.1", HOST), 400),
    "a target with a space": (read(b"/fhir/meta data", b"HTTP/1.1", HOST), 400),
    "a target with a control": (read(b"/fhir/meta\x01data", b"HTTP/1.1", HOST), 400),
    "a target with NUL": (read(b"/fhir/meta\x00data", b"HTTP/1.1", HOST), 400),
    "a target that is not ASCII": (read(b"/fhir/m\xc3\xa9tadata", b"HTTP/1.1", HOST), 400),
    "CONNECT": (b"CONNECT localhost:80 HTTP/1.1\r\nHost: localhost\r\n\r\n", 501),
    "a method in small letters": (b"get /fhir/metadata HTTP/1.1\r\nHost: localhost\r\n\r\n", 501),
    "a method that nobody knows": (b"FETCH /fhir/metadata HTTP/1.1\r\nHost: localhost\r\n\r\n", 501),
    "a tab behind the method": (b"GET\t/fhir/metadata HTTP/1.1\r\nHost: localhost\r\n\r\n", 501),
    "HTTP/2 without asking": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    "HTTP/2.0": (read(b"/fhir/metadata", b"HTTP/2.0", HOST), 505),
    "HTTP/0.9": (read(b"/fhir/metadata", b"HTTP/0.9", HOST), 505),
    "HTTP/1.2": (read(b"/fhir/metadata", b"HTTP/1.2", HOST), 400),
    "HTTP/1.10": (read(b"/fhir/metadata", b"HTTP/1.10", HOST), 400),
    "http/1.1": (read(b"/fhir/metadata", b"http/1.1", HOST), 400),
    "the beginning of TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 501),
}


@pytest.mark.parametrize("name", ODD)
def test_what_is_framed_wrongly_is_refused_and_nothing_behind_it_is_done(served: Served, name: str) -> None:
    sent, status = ODD[name]
    (found,) = talk(served, *(sent[at : at + 5] for at in range(0, len(sent), 5)))
    assert found[0] == status, found
    issue = json.loads(found[1])["issue"][0]
    assert issue["severity"] == "error"
    assert issue["diagnostics"].strip()
    if status != 421:  # a whole request, and so is what comes behind it
        assert [one[0] for one in talk(served, sent + HIDDEN)] == [status]


HIDDEN = b"PUT /fhir/Basic/hidden HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/fhir+json\r\n"
HIDDEN += b'Content-Length: 58\r\n\r\n{"resourceType":"Basic","id":"hidden","code":{"text":"x"}}'


def test_nothing_that_was_hidden_has_been_stored(served: Served) -> None:
    """Also when this test runs alone."""
    for sent, status in ODD.values():
        if status != 421 and b"Transfer-Encoding" in sent:
            talk(served, sent + HIDDEN)
    asked = read(b"/fhir/Basic/hidden", b"HTTP/1.1", HOST)
    assert [status for status, _ in talk(served, asked)] == [404]
    plain = HIDDEN.replace(b"Host: localhost", b"Host: localhost\r\nConnection: close")
    assert [status for status, _ in talk(served, plain)] == [201]  # it could have been


GOOD: dict[str, tuple[bytes, int]] = {
    "an ordinary one": (read(b"/fhir/metadata", b"HTTP/1.1", HOST), 200),
    "a name with a port": (read(b"/fhir/metadata", b"HTTP/1.1", b"Host: localhost:80"), 200),
    "an empty port": (read(b"/fhir/metadata", b"HTTP/1.1", b"Host: localhost:"), 200),
    "an address": (read(b"/fhir/metadata", b"HTTP/1.1", b"Host: [::1]:8000"), 200),
    "tabs around the value": (read(b"/fhir/metadata", b"HTTP/1.1", b"Host:\tlocalhost\t "), 200),
    "empty lines before it": (b"\r\n\r\n" + read(b"/fhir/metadata", b"HTTP/1.1", HOST), 200),
    "HTTP/1.0": (read(b"/fhir/metadata", b"HTTP/1.0", HOST), 200),
    "HTTP/1.0 without Host": (read(b"/fhir/metadata", b"HTTP/1.0"), 200),
    "a whole URL": (read(b"http://localhost/fhir/metadata?_elements=status", b"HTTP/1.1", HOST), 200),
    "a whole URL, whose host counts": (
        read(b"HTTP://localhost/fhir/metadata", b"HTTP/1.1", b"Host: evil.example"),
        200,
    ),
    "a whole URL without a path": (read(b"http://localhost", b"HTTP/1.1", HOST), 200),
    "chunks": (post(CHUNKED, body=CHUNKS), 201),
    "chunks in capitals": (post(b"TRANSFER-ENCODING: CHUNKED", body=CHUNKS), 201),
    "a size with zeros": (post(CHUNKED, body=b"002C\r\n" + BODY + b"\r\n0\r\n\r\n"), 201),
    "extensions": (post(CHUNKED, body=b'2c;a=b;c="d e"\r\n' + BODY + b"\r\n0\r\n\r\n"), 201),
    "trailers": (post(CHUNKED, body=chunked(BODY, last=b"0\r\nX: y\r\n\r\n")), 201),
    "a length with zeros": (post(b"Content-Length: 0%d" % len(BODY)), 201),
    "a length with a space behind": (post(LENGTH + b" "), 201),
    "a length in HTTP/1.0": (post(LENGTH, version=b"HTTP/1.0"), 201),
}


@pytest.mark.parametrize("name", GOOD)
def test_what_is_allowed_is_done_in_however_many_parts_it_comes(served: Served, name: str) -> None:
    sent, status = GOOD[name]
    for size in (5, len(sent)):
        (found,) = talk(served, *(sent[at : at + size] for at in range(0, len(sent), size)))
        assert found[0] == status, found


CODINGS = {
    b"%bTransfer-Encoding: chunked": b"",
    b"Transfer%bEncoding: chunked": b"-",
    b"Transfer-Encoding%b: chunked": b"",
    b"Transfer-Encoding:%bchunked": b" \t",
    b"Transfer-Encoding: chun%bked": b"",
    b"Transfer-Encoding: chunked%b": b" ",
}
"""Where a byte is put, and the bytes that change nothing there."""


@pytest.mark.parametrize("place", CODINGS)
def test_no_byte_makes_a_coding_of_what_is_none(served: Served, place: bytes) -> None:
    for byte in (*range(0x21), *b",-;_\x7f\x80\x85\xa0\xad\xff"):
        odd = bytes((byte,))
        found = talk(served, post(place % odd, body=CHUNKS))
        assert [status == 201 for status, _ in found] == [odd in CODINGS[place]], odd


def test_a_trailer_is_no_header(served: Served) -> None:
    """Else what comes behind the body could change what was decided before it."""
    criteria = b"If-None-Exist: identifier=urn:x|1\r\n"
    twice = [
        talk(served, post(CHUNKED, body=chunked(BODY, last=b"0\r\n" + criteria + b"\r\n")))[0][0]
        for _ in range(2)
    ]
    assert twice == [201, 201]


def test_a_refusal_comes_after_the_answers_before_it(served: Served) -> None:
    asked = b"GET /fhir/Basic?_count=0 HTTP/1.1\r\nHost: localhost\r\n\r\n"
    found = talk(served, asked * 3 + b"GET /fhir/metadata HTTP/1.1\r\nHost: \r\n\r\n")
    assert [status for status, _ in found] == [200, 200, 200, 400]
    begun = b"POST /fhir/Basic HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n"
    assert [status for status, _ in talk(served, asked * 3 + begun)] == [200, 200, 200, 400]


class TestExpectContinue:
    def head(self, *lines: str, length: int, version: str = "1.1") -> bytes:
        first = (f"POST /fhir/Basic HTTP/{version}", "Host: localhost", "Content-Type: application/fhir+json")
        return "\r\n".join((*first, f"Content-Length: {length}", *lines, "", "")).encode()

    def test_the_body_is_asked_for(self, served: Served) -> None:
        with served.connect() as connection:
            connection.sendall(self.head("Expect: 100-continue", "Connection: close", length=len(BODY)))
            assert connection.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
            connection.sendall(BODY)
            assert [status for status, _ in answers(connection)] == [201]

    def test_a_refused_body_is_not_asked_for_and_the_connection_ends(self, served: Served) -> None:
        """Whoever waits may send the body all the same, or the next request: that could be either."""
        with served.connect() as connection:
            connection.sendall(self.head("Expect: 100-continue", length=99_000_000))
            assert [status for status, _ in answers(connection)] == [413]

    def test_http_1_0_knows_nothing_of_it(self, served: Served) -> None:
        with served.connect() as connection:
            connection.sendall(self.head("Expect: 100-continue", length=len(BODY), version="1.0"))
            connection.sendall(BODY)
            assert [status for status, _ in answers(connection)] == [201]
