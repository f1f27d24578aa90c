"""Reads the page as a test needs it."""

from __future__ import annotations

import re
from typing import Any


def tally(page: Any) -> str:
    """The sentence above the table that counts its rows."""
    return str(page.locator(".tally").inner_text())


def number(text: str) -> int:
    """The first number of a sentence."""
    return int(re.sub(r"\D", "", text.split(" of ")[0]))
