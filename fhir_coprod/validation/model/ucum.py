"""Checks whether a text is a unit in UCUM, the Unified Code for Units of Measure (https://ucum.org/ucum).

Units are case sensitive. The unit symbols are those of the UCUM table, version 1.9. UCUM is copyright
1998-2013 the Regenstrief Institute and the UCUM Organization; its terms allow this use free of charge.
"""

from __future__ import annotations

import re

from fhir_coprod.remembering import remembering_short

_PREFIXES = "Y Z E P T G M k h da d c m u n p f a z y Ki Mi Gi Ti"
_METRIC = """
    m s g rad K C cd mol sr Hz N Pa J W A V F Ohm S Wb Cel T H lm lx Bq Gy Sv l L ar t bar u eV pc [c]
    [h] [k] [eps_0] [mu_0] [e] [m_e] [m_p] [G] [g] [ly] gf Ky Gal dyn erg P Bi St Mx G Oe Gb sb Lmb ph
    Ci R RAD REM cal_[15] cal_[20] cal_m cal_IT cal_th cal tex m[H2O] m[Hg] eq osm g% kat U [iU] [IU] Np
    B B[SPL] B[V] B[mV] B[uV] B[10.nV] B[W] B[kW] st mho bit By Bd
"""
"""Units that may have a prefix."""
_PLAIN = """
    10* 10^ [pi] % [ppth] [ppm] [ppb] [pptr] gon deg ' '' min h d a_t a_j a_g a wk mo_s mo_j mo_g mo AU
    atm [lbf_av] [in_i] [ft_i] [yd_i] [mi_i] [fth_i] [nmi_i] [kn_i] [sin_i] [sft_i] [syd_i] [cin_i]
    [cft_i] [cyd_i] [bf_i] [cr_i] [mil_i] [cml_i] [hd_i] [ft_us] [yd_us] [in_us] [rd_us] [ch_us] [lk_us]
    [rch_us] [rlk_us] [fth_us] [fur_us] [mi_us] [acr_us] [srd_us] [smi_us] [sct] [twp] [mil_us] [in_br]
    [ft_br] [rd_br] [ch_br] [lk_br] [fth_br] [pc_br] [yd_br] [mi_br] [nmi_br] [kn_br] [acr_br] [gal_us]
    [bbl_us] [qt_us] [pt_us] [gil_us] [foz_us] [fdr_us] [min_us] [crd_us] [bu_us] [gal_wi] [pk_us]
    [dqt_us] [dpt_us] [tbs_us] [tsp_us] [cup_us] [foz_m] [cup_m] [tsp_m] [tbs_m] [gal_br] [pk_br]
    [bu_br] [qt_br] [pt_br] [gil_br] [foz_br] [fdr_br] [min_br] [gr] [lb_av] [oz_av] [dr_av] [scwt_av]
    [lcwt_av] [ston_av] [lton_av] [stone_av] [pwt_tr] [oz_tr] [lb_tr] [sc_ap] [dr_ap] [oz_ap] [lb_ap]
    [oz_m] [lne] [pnt] [pca] [pnt_pr] [pca_pr] [pied] [pouce] [ligne] [didot] [cicero] [degF] [degR]
    [Cal] [Btu_39] [Btu_59] [Btu_60] [Btu_m] [Btu_IT] [Btu_th] [Btu] [HP] [den] [in_i'H2O] [in_i'Hg]
    [PRU] [wood'U] [diop] [p'diop] %[slope] [mesh_i] [Ch] [drp] [hnsf'U] [MET] [hp'_X] [hp'_C] [hp'_M]
    [hp'_Q] [hp_X] [hp_C] [hp_M] [hp_Q] [kp_X] [kp_C] [kp_M] [kp_Q] [pH] [S] [HPF] [LPF] [arb'U] [USP'U]
    [GPL'U] [MPL'U] [APL'U] [beth'U] [anti'Xa'U] [todd'U] [dye'U] [smgy'U] [bdsk'U] [ka'U] [knk'U]
    [mclg'U] [tb'U] [CCID_50] [TCID_50] [EID_50] [PFU] [FFU] [CFU] [BAU] [AU] [Amb'a'1'U] [PNU] [Lf]
    [D'ag'U] [FEU] [ELU] [EU] Ao b att [psi] circ sph [car_m] [car_Au] [smoot] bit_s
"""

_SYMBOLS = frozenset(
    [
        *_METRIC.split(),
        *_PLAIN.split(),
        *(prefix + unit for prefix in _PREFIXES.split() for unit in _METRIC.split()),
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
