"""Sequences in three-letter code, as structures and papers have them."""

import re

_TO_LETTERS = {
    b"ALA": b"A", b"ARG": b"R", b"ASN": b"N", b"ASP": b"D", b"CYS": b"C", b"GLN": b"Q", b"GLU": b"E",
    b"GLY": b"G", b"HIS": b"H", b"ILE": b"I", b"LEU": b"L", b"LYS": b"K", b"MET": b"M", b"PHE": b"F",
    b"PRO": b"P", b"SER": b"S", b"THR": b"T", b"TRP": b"W", b"TYR": b"Y", b"VAL": b"V", b"SEC": b"U",
    b"PYL": b"O", b"ASX": b"B", b"GLX": b"Z", b"XLE": b"J", b"XAA": b"X", b"MSE": b"M", b"UNK": b"X",
    b"TER": b"*", b"END": b"*", b"***": b"*",
}  # fmt: skip
CODES = frozenset(_TO_LETTERS)
_CODE_SEPARATORS = re.compile(rb"[\s,.\-]+")
_ENDS = re.compile(rb"^(?:NH2|H2N|H|AC)[-\s]+|[-\s]+(?:COOH|CO2H|OH|NH2)$", re.IGNORECASE)
_TITLE_CASE = re.compile(rb"(?:[A-Z][a-z]{2}|\*{3})+")


def from_three_letters(text: bytes) -> bytes:
    """The residues of a text in three-letter code; empty where it is none, or might be a sequence itself."""
    if text[:3].upper() not in CODES and not _ENDS.match(text):
        return b""
    words = [word for word in _CODE_SEPARATORS.split(_ENDS.sub(b"", text)) if word]
    if any(len(word) % 3 for word in words):
        return b""
    codes = [word[at : at + 3] for word in words for at in range(0, len(word), 3)]
    residues = [_TO_LETTERS.get(code.upper(), b"") for code in codes]
    if not all(residues):
        return b""
    apart = len(words) == len(codes) > 3
    distinct = len(set(residues))
    written = all(_TITLE_CASE.fullmatch(word) for word in words) and len(codes) > 3
    return b"".join(residues) if apart or written or (len(codes) >= 10 and distinct >= 4) else b""
