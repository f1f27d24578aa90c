"""Annotation below a sequence, a letter for each residue: of location, topology or structure."""

import re
from itertools import groupby

from functions.domain.headers import quoted
from functions.domain.lines import Line

LABELS = b"IOMSTLPBGHECDNioms"
_TOPOLOGY = frozenset(b"IOMSTLPBGiomstlpbgUu.-")
_SECONDARY = frozenset(b"HECTSGBILPhectsgbilp.-~ _C")
_FIGURES = re.compile(rb"[0-9.+*~:-]+")


def without_annotation(lines: list[Line], remarks: list[str]) -> list[Line]:
    """The lines of the sequence, where each of them has one or two of annotation below them all."""
    for layers in (2, 3):
        height, rest = divmod(len(lines), layers)
        if not height or rest:
            continue
        blocks = [lines[at : at + height] for at in range(0, len(lines), height)]
        widths = [[len(line.text) for line in block] for block in blocks]
        if any(width != widths[0] for width in widths) or sum(widths[0]) < 10:
            continue
        texts = [b"".join(line.text for line in block) for block in blocks]
        if not _is_annotation(texts[0]) and all(map(_is_annotation, texts[1:])):
            for text in texts[1:]:
                remarks.append(
                    f"the line {quoted(text, 12)}, an annotation of each residue as SignalP, DeepTMHMM and "
                    "predictors of structure write it, left out"
                )
            return blocks[0]
    return lines


def _is_annotation(text: bytes) -> bool:
    """True if a text as long as a sequence describes it: few different letters, each many times in a row."""
    if _FIGURES.fullmatch(text):
        return True
    letters = frozenset(text)
    runs = sum(1 for _ in groupby(text))
    if letters <= _TOPOLOGY:
        return runs <= len(text) / 4 and (len(letters) > 1 or letters < frozenset(b"IOio"))
    return letters <= _SECONDARY and len(letters) > 2 and runs <= len(text) / 2.5
