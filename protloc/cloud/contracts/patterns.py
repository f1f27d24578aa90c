"""Patterns of AWS's service models as Python's `regex` reads them.

The models are written for Java: `\\w`, `\\d` and `\\s` mean ASCII alone, `.` stops at each of Java's line
ends, `\\p{Alnum}` and its like mean ASCII too while `\\p{L}` is Unicode's, and a character beyond the first
65,536 is written as two escapes.
https://docs.oracle.com/en/java/javase/17/docs/api/java.base/java/util/regex/Pattern.html

A service compares the whole value with its pattern, anchors or not: `^[a-zA-Z0-9](-*[a-zA-Z0-9])*`, without
an end, refused "ENTER MODEL NAME" (https://github.com/aws/amazon-sagemaker-examples/issues/2236).
"""

from __future__ import annotations

import functools
import re

import regex

# Classes that stand for ASCII alone, as they are written between square brackets.
CLASSES = {
    r"\w": "a-zA-Z0-9_",
    r"\d": "0-9",
    r"\s": r"\t-\r\x20",
    r"\W": r"\x00-\x2F\x3A-\x40\x5B-\x5E\x60\x7B-\U0010FFFF",
    r"\D": r"\x00-\x2F\x3A-\U0010FFFF",
    r"\S": r"\x00-\x08\x0E-\x1F\x21-\U0010FFFF",
    r"\p{ASCII}": r"\x00-\x7F",
    r"\p{Alnum}": "a-zA-Z0-9",
    r"\p{Alpha}": "a-zA-Z",
    r"\p{Digit}": "0-9",
    r"\p{Lower}": "a-z",
    r"\p{Upper}": "A-Z",
    r"\p{Print}": r"\x20-\x7E",
    r"\p{Graph}": r"\x21-\x7E",
    r"\p{Punct}": r"\x21-\x2F\x3A-\x40\x5B-\x60\x7B-\x7E",
    r"\p{Space}": r"\t-\r\x20",
    r"\p{Cntrl}": r"\x00-\x1F\x7F",
    r"\p{XDigit}": "0-9a-fA-F",
}
ANY = r"[^\n\r\u0085\u2028\u2029]"
END = r"\Z"  # Java's \z and, since the whole value must match, its \Z
TOKEN = re.compile(r"\\[pP]\{\w+\}|\\u[0-9a-fA-F]{4}|\\x[0-9a-fA-F]{2}|\\.|&&|.", re.DOTALL)
PAIR = re.compile(r"\\u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})")


class UnreadablePatternError(ValueError):
    """A pattern uses a part of Java's language that is not translated."""


@functools.lru_cache(maxsize=4096)
def compiled(pattern: str) -> regex.Pattern[str]:
    """The pattern, to be compared with whole values."""
    return regex.compile(translated(pattern))


def matches(pattern: str, value: str) -> bool:
    """True if the whole value matches a service's pattern."""
    return compiled(pattern).fullmatch(value) is not None


def translated(pattern: str) -> str:
    """Java's pattern in Python's words."""
    parts: list[str] = []
    within = first = after_class = False
    for token in TOKEN.findall(PAIR.sub(_joined, pattern)):
        opening, first = first, False
        behind, after_class = after_class, token in CLASSES
        # Beside a class a hyphen is itself; beside its replacement it would make a range.
        if within and behind and token == "-":
            parts.append(r"\-")
            continue
        if within and token in CLASSES and parts[-1] == "-":
            parts[-1] = r"\-"
        if token in CLASSES:
            parts.append(CLASSES[token] if within else f"[{CLASSES[token]}]")
        elif within:
            if token == "&&" or (token == "[" and not opening):
                raise UnreadablePatternError(f"a set within a set, in {pattern}")
            within = token != "]" or opening
            first = opening and token == "^"
            parts.append(token)
        elif token == "[":
            within = first = True
            parts.append(token)
        else:
            parts.append({".": ANY, r"\z": END, r"\Z": END}.get(token, token))
    return "".join(parts)


def _joined(pair: re.Match[str]) -> str:
    high, low = (int(half, 16) for half in pair.groups())
    return f"\\U{0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00):08X}"
