"""Checks whether a text is a unit in UCUM, the Unified Code for Units of Measure (https://ucum.org/ucum).

Units are case sensitive. The unit symbols are those of the UCUM table, version 1.9. UCUM is copyright
1998-2013 the Regenstrief Institute and the UCUM Organization; its terms allow this use free of charge.
"""

from __future__ import annotations

import re

from fhir_coprod.remembering import remembering_short
from fhir_coprod.validation.fhirpath import units

_METRIC = """
    Cel [h] [k] [eps_0] [mu_0] [e] [m_e] [m_p] [G] [ly] Ky Gal Bi Mx G Oe Gb sb Lmb ph cal_[15] cal_[20]
    cal_m cal_IT Np B B[SPL] B[V] B[mV] B[uV] B[10.nV] B[W] B[kW]
"""
"""Units that may have a prefix, and of which `units` does not know what they measure."""
_PLAIN = """
    [fth_i] [bf_i] [cr_i] [mil_i] [cml_i] [hd_i] [ft_us] [yd_us] [in_us] [rd_us] [ch_us] [lk_us]
    [rch_us] [rlk_us] [fth_us] [fur_us] [mi_us] [acr_us] [srd_us] [smi_us] [sct] [twp] [mil_us] [in_br]
    [ft_br] [rd_br] [ch_br] [lk_br] [fth_br] [pc_br] [yd_br] [mi_br] [nmi_br] [kn_br] [acr_br] [bbl_us]
    [crd_us] [bu_us] [gal_wi] [pk_us] [dqt_us] [dpt_us] [pk_br] [bu_br] [fdr_br] [min_br] [scwt_av]
    [lcwt_av] [pwt_tr] [sc_ap] [dr_ap] [oz_ap] [lb_ap] [oz_m] [lne] [pnt] [pca] [pnt_pr] [pca_pr] [pied]
    [pouce] [ligne] [didot] [cicero] [degF] [degR] [Btu_39] [Btu_59] [Btu_60] [Btu_m] [Btu_IT] [Btu_th]
    [Btu] [wood'U] [p'diop] %[slope] [hnsf'U] [hp'_X] [hp'_C] [hp'_M] [hp'_Q] [hp_X] [hp_C] [hp_M]
    [hp_Q] [kp_X] [kp_C] [kp_M] [kp_Q] [pH] [S] sph [car_Au] [smoot] bit_s
"""
"""The same without prefix."""

_PREFIXED = [*_METRIC.split(), *units.METRIC, *units.BASE, "[iU]"]
_SYMBOLS = frozenset(
    [
        *_PREFIXED,
        *_PLAIN.split(),
        *units.PLAIN,
        *units.ARBITRARY,
        *(prefix + unit for prefix in units.PREFIXES for unit in _PREFIXED),
    ]
)
_TOKEN = re.compile(
    # annotation, operator, unit with exponent, number
    r"\{[!-z|~]*\}|[./()]"
    r"|(?:10[*^]|[^\s{}./()\[\]0-9+-]|\[[^\s\]]*\])(?:[^\s{}./()\[\]+-]|\[[^\s\]]*\])*(?:[+-]?[0-9]+)?"
    r"|[0-9]+"
)
_EXPONENT = re.compile(r"(.*?)[+-]?[0-9]+")


@remembering_short(4096, 64)
def is_unit(text: str) -> bool:
    """Whether UCUM's grammar allows the text: factors, units with prefix and exponent, `.` and `/`, `( )`,
    `{annotations}`.
    """
    tokens: list[str] = []
    at = 0
    while at < len(text):
        token = _TOKEN.match(text, at)
        if token is None:
            return False
        tokens.append(token[0])
        at = token.end()
    return bool(tokens) and len(tokens) < 100 and _term(tokens) and not tokens


def _term(tokens: list[str]) -> bool:
    """Take `[/] component ((. | /) component)*` off the front."""
    if tokens[0] == "/":
        tokens.pop(0)
    while True:
        if not _component(tokens):
            return False
        if not tokens or tokens[0] not in "./":
            return True
        tokens.pop(0)


def _component(tokens: list[str]) -> bool:
    if not tokens:
        return False
    token = tokens.pop(0)
    if token == "(":  # noqa: S105
        if not tokens or not _term(tokens) or not tokens or tokens.pop(0) != ")":
            return False
    elif token[0] == "{":
        return True
    elif not token.isdigit() and not _is_simple(token):
        return False
    if tokens and tokens[0][0] == "{":
        tokens.pop(0)
    return True


def _is_simple(token: str) -> bool:
    """Whether a token is a unit, with or without exponent."""
    if token in _SYMBOLS:
        return True
    match = _EXPONENT.fullmatch(token)
    return match is not None and match[1] in _SYMBOLS
