"""Headers, places, searches and bodies that a clumsy or ill-willed client sends."""

from __future__ import annotations

from typing import Any

PATIENT = {"resourceType": "Patient", "id": "attacked", "name": [{"family": "A"}], "birthDate": "1912-12-12"}


TAGS = (
    *(
        'W/"x"',
        '""',
        'W/""',
        '"1","2"',
        'W/"1" W/"2"',
        "*",
        f'W/"{"9" * 30}"',
        'W/"-1"',
        'W/"1"; x',
        "1",
        "W/1",
    ),
    *('"1', '\x80"1"', 'W/"1",*', ","),
)


HEADERS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("if-match", TAGS),
    ("if-none-match", TAGS),
    ("if-modified-since", ("x", "Mon, 99 Foo 2020 99:99:99 GMT", "0", "")),
    (
        "if-none-exist",
        ("?", "name", "name=%ff", "Patient?identifier=x", "_count=5", "_sort=name&name=x", "name=%00"),
    ),
    ("prefer", ("return=", "=", ";;;,,,", 'return="minimal"', "handling=maybe", "respond-async", "a" * 9000)),
    (
        "accept",
        (
            "*/*;q=0",
            "application/json;q=nan",
            "application/json;q=inf",
            ",,,",
            ";",
            "*/json",
            "\xff",
            "a" * 9000,
        ),
    ),
    ("accept-encoding", ("gzip;q=0", "*", "gzip;q=x", ",", "br")),
    (
        "content-type",
        ("", ";", "application/fhir+json; charset", 'application/fhir+json;charset="utf-8', "a/b; c=d"),
    ),
    ("content-encoding", ("gzip", "gzip, gzip", "identity, gzip", "deflate")),
    ("content-length", ("-1", "x", "99999999999999999999")),
    ("host", ("evil", "", "localhost:99999999", "[::1", "localhost\x00", "localhost.")),
)


PLACES = (
    *(
        "Patient/%00",
        "Patient/%2e%2e",
        "Patient//a",
        "//Patient/a",
        "Patient/a//_history",
        "Patient/%F0%28%8C%28",
    ),
    *(
        "Patient/a%2F_history",
        f"Patient/{'a' * 9000}",
        "%50atient/a",
        "Patient/a?%00=1",
        "Patient/a%3F",
        "Patient/a;x=1",
    ),
    *(
        "Patient/a/_history/%31",
        "Patient/a/_history/1e1",
        "Patient/a/_history/+1",
        "Patient/a/_history/１",
        "_history/1",
    ),
    *(
        "Patient/_search/1",
        "$nonsense",
        "metadata/x",
        "metadata?mode=",
        "Patient/a/*",
        "Observation/o/*",
        "_search",
    ),
    *("_history?_at=2020", "_history?_count=99999999999", "_history?_since=9999-12-31T23:59:59.999999999Z"),
    *(
        "_history?_since=0000",
        "_history?_since=24:00",
        "_history?_cursor=-1",
        "_history?_cursor=９",
        "?_type=%00",
    ),
)


METHODS = (
    "GET",
    "DELETE",
    "PUT",
    "POST",
    "PATCH",
    "HEAD",
    "OPTIONS",
    "TRACE",
    "CONNECT",
    "FOO",
    "PROPFIND",
    "get",
)


VALUES = (
    *(
        "1e400",
        "-1e400",
        "1e-400",
        "1e999999999",
        "NaN",
        "Infinity",
        "0x10",
        "１",
        "1,,1",
        ",",
        "\\",
        "\\,",
        "|",
        "|||",
    ),
    *(
        "a|b|c|d",
        "$",
        "9999-99-99",
        "0000-01-01",
        "0001-01-01",
        "9999-12-31T23:59:59.999999Z",
        "9999-12-31T24:00:00Z",
    ),
    *(
        "2020-02-30",
        "2020-01-01T25:00:00Z",
        "2020-01-01T00:00:00+99:99",
        "gege2020",
        "ap0001-01-01",
        "ap9999-12-31",
    ),
    *(
        "sa",
        "eq ",
        "😀",
        "\ud7ff",
        "\u202e",
        "a" * 30_000,
        "'; DROP TABLE resource;--",
        "%'",
        "[a-z]*",
        "((((((",
    ),
    *(
        "Patient/a/_history/1",
        "Patient?name=x",
        f"http://{'x' * 3000}",
        "urn:uuid:x",
        "#a",
        "//",
        "Patient/",
        "\n",
        "\0",
    ),
)


CODES = {
    "Patient": (
        *(
            "birthdate",
            "name",
            "name:exact",
            "name:contains",
            "identifier",
            "identifier:of-type",
            "identifier:not",
        ),
        *(
            "general-practitioner",
            "organization:Organization",
            "_lastUpdated",
            "_id",
            "_id:not",
            "_tag",
            "_profile",
        ),
        *(
            "_source",
            "active",
            "gender:missing",
            "_has:Observation:patient:code",
            "_has:Observation:patient:_has:x:y:z",
        ),
        *(
            "_has",
            "_has:",
            "_has:a:b:c",
            "general-practitioner.name",
            "link.link.link.link.link.link.link.link.link.name",
        ),
        *(
            "_sort",
            "_include",
            "_revinclude",
            "_include:iterate",
            "_count",
            "_total",
            "_summary",
            "_elements",
            "_cursor",
        ),
        *(
            "_type",
            "_text",
            "_content",
            "_filter",
            "_list",
            "_query",
            "name:",
            "name::",
            ":exact",
            "name:exact:exact",
        ),
        *("name.x", "_id.x", "_lastUpdated:missing", "_sort:x", "_count:x", "_format", "_pretty"),
    ),
    "Observation": (
        "value-quantity",
        "value-date",
        "date",
        "code:in",
        "code:text",
        "code-value-quantity",
        "subject.birthdate",
    ),
    "RiskAssessment": ("probability",),
    "Location": ("near",),
    "ValueSet": ("url", "url:below"),
}


SEEN = b'{"resourceType":"Observation","status":"final","code":{"text":"x"},"valueQuantity":{"value":%s}}'


BODIES = (
    *(
        b"",
        b"null",
        b"true",
        b"1",
        b'"x"',
        b"[]",
        b"{}",
        b"{",
        b'{"resourceType":null}',
        b'{"resourceType":["Patient"]}',
    ),
    *(SEEN % number for number in (b"1e400", b"1e-400", b"9" * 5000, b"NaN", b"-0", b"1.", b"01", b"1e308")),
    *(b'{"resourceType":"Patient","id":"a\xff"}', b'{"resourceType":"Patient","language":"\xed\xa0\x80"}'),
    *(
        b"\xff\xfe{\x00}\x00",
        b'\xef\xbb\xbf{"resourceType":"Patient"}',
        b'{"resourceType":"Patient","meta":5}',
    ),
    *(
        b'{"resourceType":"Patient","name":[[]]}',
        b'{"resourceType":"Patient","meta":{"tag":5,"profile":5,"security":{}}}',
    ),
    *(
        b'{"resourceType":"Patient","text":{"status":"generated","div":"<div>"}}',
        b'{"resourceType":"Patient","contained":{}}',
    ),
    b'{"resourceType":"Patient","contained":[{"resourceType":"Patient","contained":[{}]}]}',
    b'{"resourceType":"Patient","identifier":[{"value":"' + b"x" * 300_000 + b'"}]}',
    b'{"resourceType":"Patient","generalPractitioner":[{"reference":"Practitioner/' + b"x" * 5000 + b'"}]}',
    *(
        b'{"resourceType":"Patient","birthDate":"9999-12-31"}',
        b'{"resourceType":"Patient","birthDate":"0001-01-01"}',
    ),
    *(
        b'{"resourceType":"Location","position":{"latitude":1e308,"longitude":-1e308}}',
        b'{"resourceType":"Patient","_birthDate":[]}',
    ),
    b'{"resourceType":"RiskAssessment","status":"final","subject":{"display":"x"},"prediction":[{"probabilityRange":'
    b'{"low":{"value":-1e308},"high":{"value":1e308}}}]}',
    b'{"resourceType":"Parameters","parameter":[{"name":"resource","resource":null}]}',
    b'{"resourceType":"Bundle","type":"batch","entry":[null]}',
    b'{"resourceType":"Bundle","type":"batch","entry":[{"request":null}]}',
    b'{"resourceType":"Bundle","type":["batch"]}',
)


OPERATIONS: tuple[Any, ...] = (
    [{"op": "add", "path": f"/name/{'9' * 20}", "value": 1}],
    [{"op": "add", "path": "/name/-1", "value": 1}],
    [{"op": "add", "path": "name", "value": 1}],
    [{"op": "add", "path": "", "value": 5}],
    [{"op": "remove", "path": ""}],
    [{"op": "move", "from": "", "path": "/x"}],
    [{"op": "copy", "from": "", "path": "/x"}] * 40,
    [{"op": "move", "from": "/name", "path": "/name/0/x"}],
    [{"op": "add", "path": "/~2", "value": 1}],
    [{"op": "add", "path": "/" + "a/" * 20_000, "value": 1}],
    [{"op": ["add"], "path": "/x", "value": 1}],
    [{"op": "add", "path": "/id", "value": "b"}],
    [{"op": "add", "path": "/meta", "value": 5}],
    [{"op": "add", "path": "/birthDate/x", "value": 1}],
    [{"op": "copy", "from": "/birthDate/0", "path": "/x"}],
    [{"op": "add", "path": "/name", "value": 10**400}],
)


ENTRY_URLS = (
    *(
        "",
        "/",
        "Patient/attacked",
        "http://localhost/fhir/Patient/attacked",
        "http://evil/fhir/Patient/a",
        "//evil/Patient/a",
    ),
    *(
        "Patient?name=%ff",
        "Patient/%00",
        "Patient/a#b",
        "_history",
        "metadata",
        "$validate",
        "Patient/a/$everything",
    ),
    *(
        "_search",
        "urn:uuid:1",
        "javascript:alert(1)",
        "../metadata",
        "Patient/a\n",
        f"Patient?{'name=a&' * 600}",
        "Nonsense/1",
    ),
)


FULL_URLS = (
    "",
    "x",
    "urn:uuid:1",
    "http://x/fhir/Patient/1",
    5,
    None,
    f"urn:uuid:{'x' * 5000}",
    "#",
    "Patient/a",
)
