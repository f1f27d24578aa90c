"""Lines of words among lines of residues: headers that were wrapped, or that lost their `>`."""

import re

from functions.domain.lines import Line

_ENGLISH = frozenset(
    b"protein sequence hypothetical putative predicted probable uncharacterized fragment partial precursor "
    b"isoform subunit domain family chain factor receptor kinase enzyme containing binding unavailable "
    b"available temporarily resource error warning found from with this that the and for not file line "
    b"email mail homo sapiens mus musculus unknown unnamed product conserved variant ribosomal "
    b"mitochondrial".split()
)
_IDENTIFIER = re.compile(rb"[A-Za-z0-9_.:-]*\|[^\s]*|[A-Z]{2}_\d{6,}\S*|(?:[A-Za-z]+_?)?\d{3,}\S*")
_TITLED = re.compile(rb"[A-Z][a-z]{3,20}")


class Shapes:
    """The look of a record's lines, against which a line of words stands out."""

    def __init__(self, lines: list[Line]) -> None:
        self.several = len(lines) > 1
        self.upper = sum(line.text.isupper() for line in lines) > len(lines) / 2

    def are_words(self, line: bytes) -> bool:
        """True if a line is text that people read, and no residues."""
        words = line.split()
        if len(words) < 2:
            titled = self.several and self.upper and _TITLED.fullmatch(line)
            return bool(titled or line.lower() in _ENGLISH or _IDENTIFIER.fullmatch(line))
        if _in_blocks(words) and not (self.upper and not line.isupper() and len(set(map(len, words))) > 1):
            return False
        english = [word for word in words if word.lower().strip(b".,:;()") in _ENGLISH]
        if line.isupper():
            return (
                len(english) > 1
                or any(len(word) > 5 for word in english)
                or _IDENTIFIER.match(line) is not None
            )
        return bool(english) or _IDENTIFIER.match(line) is not None or 1 < max(map(len, words)) < 15


def _in_blocks(words: list[bytes]) -> bool:
    """True if words are a sequence set in blocks of one width, the last of which may be shorter."""
    widths = {len(word) for word in words[:-1]}
    if len(widths) != 1 or not b"".join(words).translate(None, b"*").isalpha():
        return False
    [width] = widths
    if len(words[-1]) > width:
        return False
    return width == 10 or (len(words) > 2 and (width > 2 or width == 1))
