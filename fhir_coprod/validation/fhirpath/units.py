"""What a UCUM unit is a multiple of, so that quantities in different units can be compared and computed with.

    measure("mg/dL")   # (1/100 of a g.m-3, with the dimensions mass 1 and length -3)

The definitions are those of the UCUM table (https://ucum.org/ucum). A unit that is no multiple of others
(degrees Celsius, pH, decibel) has no measure, nor has one that is missing in the tables below: its quantities
can only be compared with others in the same unit. Each arbitrary unit ([iU], [CFU]) is its own dimension.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction

from fhir_coprod.remembering import remembering_short

Measure = tuple[Fraction, tuple[tuple[str, int], ...]]
"""A factor, and the base units it is a multiple of with their exponents, sorted by name."""

MAX_EXPONENT = 30
_LONGEST = 100

PREFIXES = {
    prefix: Fraction(10) ** power
    for prefix, power in {
        **{"Y": 24, "Z": 21, "E": 18, "P": 15, "T": 12, "G": 9, "M": 6, "k": 3, "h": 2, "da": 1},
        **{"d": -1, "c": -2, "m": -3, "u": -6, "n": -9, "p": -12, "f": -15, "a": -18, "z": -21, "y": -24},
    }.items()
} | {"Ki": Fraction(2**10), "Mi": Fraction(2**20), "Gi": Fraction(2**30), "Ti": Fraction(2**40)}

BASE = frozenset({"m", "s", "g", "rad", "K", "C", "cd", "bit"})
_OF_A_KIND = """
    [iU] [arb'U] [USP'U] [GPL'U] [MPL'U] [APL'U] [beth'U] [anti'Xa'U] [todd'U] [dye'U] [smgy'U] [bdsk'U]
    [ka'U] [knk'U] [mclg'U] [tb'U] [CCID_50] [TCID_50] [EID_50] [PFU] [FFU] [CFU] [BAU] [AU] [Amb'a'1'U]
    [PNU] [Lf] [D'ag'U] [FEU] [ELU] [EU]
"""
ARBITRARY = frozenset(_OF_A_KIND.split())
"""Units of a kind of their own, such as [CFU]."""

METRIC = {
    "mol": "6.0221367 10*23", "sr": "rad2", "Hz": "s-1", "N": "kg.m/s2", "Pa": "N/m2", "J": "N.m", "W": "J/s",
    "A": "C/s", "V": "J/C", "F": "C/V", "Ohm": "V/A", "S": "Ohm-1", "Wb": "V.s", "T": "Wb/m2", "H": "Wb/A",
    "lm": "cd.sr", "lx": "lm/m2", "Bq": "s-1", "Gy": "J/kg", "Sv": "J/kg", "l": "dm3", "L": "l",
    "ar": "100 m2", "t": "1000 kg", "bar": "100000 Pa", "u": "1.6605402 10*-24.g",
    "eV": "1.60217733 10*-19.J",
    "pc": "3.085678 10*16.m", "[c]": "299792458 m/s", "[g]": "9.80665 m/s2", "gf": "g.[g]", "dyn": "g.cm/s2",
    "erg": "dyn.cm", "P": "dyn.s/cm2", "St": "cm2/s", "Ci": "37 10*9.Bq", "R": "2.58 10*-4.C/kg",
    "RAD": "100 erg/g", "REM": "RAD", "cal_th": "4.184 J", "cal": "cal_th", "tex": "g/km",
    "m[H2O]": "9.80665 kPa", "m[Hg]": "133.3220 kPa", "eq": "mol", "osm": "mol", "g%": "g/dl", "kat": "mol/s",
    "U": "umol/min", "[IU]": "[iU]", "mho": "S", "By": "8 bit", "Bd": "s-1", "st": "m3",
}  # fmt: skip
"""Units that may have a prefix, beside those of `BASE` and [iU]."""

PLAIN = {
    "10*": "10", "10^": "10", "[pi]": "3.1415926535897932384626433832795028841971693993751058209749445923",
    "%": "10*-2", "[ppth]": "10*-3", "[ppm]": "10*-6", "[ppb]": "10*-9", "[pptr]": "10*-12",
    "deg": "2 [pi].rad/360", "'": "deg/60", "''": "'/60", "gon": "0.9 deg", "circ": "2 [pi].rad",
    "min": "60 s", "h": "60 min", "d": "24 h", "wk": "7 d", "a_t": "365.24219 d", "a_j": "365.25 d",
    "a_g": "365.2425 d", "a": "a_j", "mo_s": "29.53059 d", "mo_j": "a_j/12", "mo_g": "a_g/12", "mo": "mo_j",
    "AU": "149597.870691 Mm", "atm": "101325 Pa", "att": "kgf/cm2", "Ao": "0.1 nm", "b": "100 fm2",
    "[in_i]": "2.54 cm", "[ft_i]": "12 [in_i]", "[yd_i]": "3 [ft_i]", "[mi_i]": "5280 [ft_i]",
    "[nmi_i]": "1852 m", "[kn_i]": "[nmi_i]/h", "[sin_i]": "[in_i]2", "[sft_i]": "[ft_i]2",
    "[syd_i]": "[yd_i]2", "[cin_i]": "[in_i]3", "[cft_i]": "[ft_i]3", "[cyd_i]": "[yd_i]3",
    "[gal_us]": "231 [in_i]3", "[qt_us]": "[gal_us]/4", "[pt_us]": "[qt_us]/2", "[gil_us]": "[pt_us]/4",
    "[foz_us]": "[gil_us]/4", "[fdr_us]": "[foz_us]/8", "[min_us]": "[fdr_us]/60", "[tbs_us]": "[foz_us]/2",
    "[tsp_us]": "[tbs_us]/3", "[cup_us]": "16 [tbs_us]", "[foz_m]": "30 ml", "[cup_m]": "240 ml",
    "[tsp_m]": "5 ml", "[tbs_m]": "15 ml", "[gal_br]": "4.54609 l", "[qt_br]": "[gal_br]/4",
    "[pt_br]": "[qt_br]/2", "[gil_br]": "[pt_br]/4", "[foz_br]": "[gil_br]/5",
    "[gr]": "64.79891 mg", "[lb_av]": "7000 [gr]", "[oz_av]": "[lb_av]/16", "[dr_av]": "[oz_av]/16",
    "[stone_av]": "14 [lb_av]", "[ston_av]": "2000 [lb_av]", "[lton_av]": "2240 [lb_av]",
    "[oz_tr]": "480 [gr]", "[lb_tr]": "12 [oz_tr]", "[car_m]": "0.2 g", "[lbf_av]": "[lb_av].[g]",
    "[psi]": "[lbf_av]/[in_i]2", "[in_i'H2O]": "m[H2O].[in_i]/m", "[in_i'Hg]": "m[Hg].[in_i]/m",
    "[Cal]": "kcal_th", "[HP]": "550 [ft_i].[lbf_av]/s", "[den]": "g/(9.km)", "[PRU]": "mm[Hg].s/ml",
    "[diop]": "m-1", "[mesh_i]": "[in_i]-1", "[Ch]": "mm/3", "[drp]": "ml/20", "[HPF]": "1", "[LPF]": "100",
    "[MET]": "3.5 ml/min/kg",
}  # fmt: skip
"""Units without prefix. "2.54 cm": a decimal factor, then a term."""

_TOKEN = re.compile(
    # an annotation, an operator, a number, a unit without its exponent
    r"\{[!-z|~]*\}|[./()]|[0-9]+(?![0-9*^])|10[*^]|(?:[^\s{}./()\[\]0-9+*^-]|\[[^\s\]]*\])+"
)
_POWER = re.compile(r"([+-]?[0-9]{1,2})(?![0-9])")


class _Unknown(Exception):
    """No unit, or one without a measure."""


@remembering_short(1024, _LONGEST)
def measure(text: str) -> Measure | None:
    """What a unit is a multiple of; None for a text that is no unit or a unit that has no measure."""
    if len(text) > _LONGEST:
        return None
    try:
        return _Reader(text).whole()
    except _Unknown:
        return None


def product(a: Measure, b: Measure, sign: int = 1) -> Measure:
    """Two measures multiplied, or, with a sign of -1, the first divided by the second."""
    powers = dict(a[1])
    for name, power in b[1]:
        powers[name] = powers.get(name, 0) + sign * power
    return a[0] * b[0] ** sign, tuple(sorted((name, power) for name, power in powers.items() if power))


ONE: Measure = (Fraction(1), ())


class _Reader:
    """Reads a term of UCUM: components with `.` and `/` between them, from left to right."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def whole(self) -> Measure:
        found = self.term()
        if self.at != len(self.text):
            raise _Unknown
        return found

    def accept(self, characters: str) -> str:
        here = self.text[self.at : self.at + 1]
        if not here or here not in characters:
            return ""
        self.at += 1
        return here

    def term(self) -> Measure:
        found = product(ONE, self.component(), -1) if self.accept("/") else self.component()
        while operator := self.accept("./"):
            found = product(found, self.component(), 1 if operator == "." else -1)
        return found

    def component(self) -> Measure:
        if self.accept("("):
            found = self.term()
            if not self.accept(")"):
                raise _Unknown
            return found
        token = _TOKEN.match(self.text, self.at)
        if token is None:
            raise _Unknown
        self.at = token.end()
        if token[0][0] == "{":
            return ONE
        found = (Fraction(int(token[0])), ()) if token[0].isdigit() else self.raised(_unit(token[0]))
        note = _TOKEN.match(self.text, self.at)
        if note is not None and note[0][0] == "{":
            self.at = note.end()
        return found

    def raised(self, found: Measure) -> Measure:
        power = _POWER.match(self.text, self.at)
        if power is None:
            return found
        self.at = power.end()
        exponent = int(power[1])
        if abs(exponent) > MAX_EXPONENT:
            raise _Unknown
        return found[0] ** exponent, tuple((name, by * exponent) for name, by in found[1] if exponent)


def _unit(symbol: str) -> Measure:
    """A unit symbol, with or without prefix."""
    for prefix, rest in _splits(symbol):
        found = _defined(rest)
        if found is not None:
            return found[0] * prefix, found[1]
    raise _Unknown


def _splits(symbol: str) -> Iterator[tuple[Fraction, str]]:
    yield Fraction(1), symbol
    for length in (2, 1):
        rest = symbol[length:]
        if symbol[:length] in PREFIXES and (rest in METRIC or rest in BASE or rest == "[iU]"):
            yield PREFIXES[symbol[:length]], rest


def _defined(symbol: str) -> Measure | None:
    if symbol in BASE or symbol in ARBITRARY:
        return Fraction(1), ((symbol, 1),)
    definition = METRIC.get(symbol) or PLAIN.get(symbol)
    if definition is None:
        return None
    first, _, term = definition.partition(" ")
    if term:
        found = measure(term)
    elif first.replace(".", "", 1).isdigit():
        return Fraction(first), ()
    else:
        first, found = "1", measure(first)
    if found is None:
        raise _Unknown
    return found[0] * Fraction(first), found[1]
