"""Checks the narrative's XHTML: rules txt-1 and txt-2 (https://hl7.org/fhir/R4/narrative.html#xhtml)."""

from __future__ import annotations

from xml.parsers import expat

from fhir_coprod.remembering import remembering_short

_NAMES = """
    p br div h1 h2 h3 h4 h5 h6 a span b em i strong small big tt dfn q var abbr acronym cite blockquote
    hr address bdo kbd code sub sup ul ol li dl dt dd pre table caption colgroup col thead tr tfoot
    tbody th td samp img map area
"""
_ATTRIBUTE_NAMES = """
    title style class id lang dir accesskey tabindex span width align valign char charoff
    abbr axis headers scope rowspan colspan cellpadding cellspacing border summary frame rules cite alt
    src height usemap longdesc href name rel rev shape coords charset type nohref start value reversed
"""
_XHTML = "http://www.w3.org/1999/xhtml"
_XML = "http://www.w3.org/XML/1998/namespace"
_BETWEEN = " "
"""What the parser puts between a namespace and a name; no URI holds a space."""
_DIV = f"{_XHTML}{_BETWEEN}div"
_IMAGE = f"{_XHTML}{_BETWEEN}img"
_ELEMENTS = frozenset(f"{_XHTML}{_BETWEEN}{name}" for name in _NAMES.split())
_ATTRIBUTES = frozenset(_ATTRIBUTE_NAMES.split()) | {f"{_XML}{_BETWEEN}{name}" for name in ("lang", "space")}
_WHITE = " \t\r\n"
"""White space of XML; a no-break space is something to see."""


class _Refused(Exception):
    """Something in the narrative that FHIR does not allow."""


class _Reader:
    """Follows the parser through one narrative."""

    def __init__(self) -> None:
        self.depth = 0
        self.content = False
        """Whether there is something to see: text or an image."""
        self.local: set[str] = set()
        """Links to within the resource: #id."""

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if self.depth == 0 and name != _DIV:
            if name.rpartition(_BETWEEN)[2] == "div":
                raise _Refused(f'its <div> lacks xmlns="{_XHTML}"')
            raise _Refused(f"it starts with <{_short(name)}> instead of <div>")
        self.depth += 1
        if name not in _ELEMENTS:
            raise _Refused(f"the element <{_short(name)}> is not allowed in it")
        for attribute, value in attributes.items():
            if attribute not in _ATTRIBUTES:
                raise _Refused(f"the attribute {_short(attribute)} is not allowed in it")
            if attribute in ("href", "src"):
                if value.strip().lower().startswith("javascript:"):
                    raise _Refused("it holds a script")
                if value.startswith("#"):
                    self.local.add(value)
        if name == _IMAGE:
            self.content = True

    def end(self, name: str) -> None:
        self.depth -= 1

    def text(self, content: str) -> None:
        if content.strip(_WHITE):
            self.content = True

    def doctype(self, *declared: object) -> None:
        # Without a document type there are no entities to multiply.
        raise _Refused("it holds a document type declaration")


def _short(name: str) -> str:
    return name.rpartition(_BETWEEN)[2]


@remembering_short(4096, 4000)
def fault(div: str) -> str:
    """What is wrong with a narrative, as half a sentence; "" when nothing is."""
    return _read(div, _Reader())


def local_links(div: object) -> frozenset[str]:
    """What an allowed narrative points to within its resource, such as the picture #p; none in any other."""
    reader = _Reader()
    if type(div) is not str or "#" not in div or _read(div, reader):
        return frozenset()
    return frozenset(reader.local)


def _read(div: str, reader: _Reader) -> str:
    # Elements and attributes go by their namespace: the prefix is free.
    parser = expat.ParserCreate(namespace_separator=_BETWEEN)
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.text
    parser.StartDoctypeDeclHandler = reader.doctype
    try:
        parser.Parse(div, True)
    except _Refused as refused:
        return str(refused)
    except expat.ExpatError as error:
        return f"it is not well-formed XML ({expat.ErrorString(error.code)})"
    except (ValueError, UnicodeError):
        return "it holds characters that XML does not allow"
    return "" if reader.content else "it has no text"


def is_allowed(div: object) -> bool:
    """Whether txt-1 and txt-2 hold."""
    return type(div) is str and not fault(div)
