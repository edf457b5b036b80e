"""The narrative's XHTML: rules txt-1 and txt-2 (https://hl7.org/fhir/R4/narrative.html#xhtml)."""

from __future__ import annotations

import re
from functools import lru_cache
from xml.parsers import expat

_ELEMENTS = frozenset(
    ["p", "br", "div", "h1", "h2", "h3", "h4", "h5", "h6", "a", "span", "b", "em", "i", "strong", "small", "big", "tt", "dfn", "q", "var", "abbr", "acronym", "cite", "blockquote", "hr", "address", "bdo", "kbd", "code", "sub", "sup", "ul", "ol", "li", "dl", "dt", "dd", "pre", "table", "caption", "colgroup", "col", "thead", "tr", "tfoot", "tbody", "th", "td", "samp", "img", "map", "area"]
)
_ATTRIBUTES = frozenset(
    ["title", "style", "class", "id", "lang", "xml:lang", "dir", "accesskey", "tabindex", "xmlns", "span", "width", "align", "valign", "char", "charoff", "abbr", "axis", "headers", "scope", "rowspan", "colspan", "cellpadding", "cellspacing", "border", "summary", "frame", "rules", "cite", "alt", "src", "height", "usemap", "longdesc", "href", "name", "rel", "rev", "shape", "coords", "charset", "type", "nohref", "colspan", "start", "value", "reversed"]
)
_XHTML = "http://www.w3.org/1999/xhtml"
_ENTITY = re.compile(r"<!|<\?")
_NAMED = re.compile(r"&([A-Za-z][A-Za-z0-9]*);")


class _Refused(Exception):
    """Something in the narrative that FHIR does not allow."""


@lru_cache(maxsize=4096)
def fault(div: str) -> str:
    """What is wrong with a narrative as half a sentence; "" when nothing is."""
    state = {"depth": 0, "content": False}

    def start(name: str, attributes: dict[str, str]) -> None:
        if state["depth"] == 0:
            if name != "div":
                raise _Refused(f"it starts with <{name}> instead of <div>")
            if attributes.get("xmlns") != _XHTML:
                raise _Refused(f'its <div> lacks xmlns="{_XHTML}"')
        state["depth"] += 1
        if name not in _ELEMENTS:
            raise _Refused(f"the element <{name}> is not allowed in it")
        for attribute, value in attributes.items():
            if attribute not in _ATTRIBUTES:
                raise _Refused(f"the attribute {attribute} is not allowed in it")
            if attribute in ("href", "src") and value.strip().lower().startswith("javascript:"):
                raise _Refused("it holds a script")
        if name == "img":
            state["content"] = True

    def end(_: str) -> None:
        state["depth"] -= 1

    def text(content: str) -> None:
        if not content.isspace():
            state["content"] = True

    if _ENTITY.search(div) and ("<!DOCTYPE" in div or "<!ENTITY" in div):
        return "it holds a document type declaration"
    parser = expat.ParserCreate()
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = text
    try:
        parser.Parse(div, True)
    except _Refused as refused:
        return str(refused)
    except expat.ExpatError as error:
        return f"it is not well-formed XML ({expat.ErrorString(error.code)})"
    except (ValueError, UnicodeError):
        return "it holds characters that XML does not allow"
    return "" if state["content"] else "it has no text"


def is_allowed(div: object) -> bool:
    return type(div) is str and not fault(div)
