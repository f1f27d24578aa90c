"""The commands that README.md and docs/ show, read from there, and where each can be run.

A fenced block of the language `sh` or `bash` holds commands. By rules, and by no list of commands: one that
names a stack or a bucket needs AWS, and so does each that follows `make deploy`; a command that installs or
downloads needs the internet; `make` builds, tests and trains for minutes; a program of `model/` may compute
for hours, and has tests of its own. All others run on the embedded cloud.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
SHELLS = ("sh", "bash")
FENCED = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`((?:\.venv/bin/)?protloc [^`]+)`")

ELSEWHERE = {
    "AWS": re.compile(r"--stack\b|\bSTACK=|\bs3://|^make deploy\b"),
    "the internet": re.compile(r"\bpip install\b|^hf download\b"),
    "minutes": re.compile(r"^make\b"),
    "hours": re.compile(r"^python -m model\."),
}


class Command(NamedTuple):
    """A command of a block; `needs` says why it is not run on the embedded cloud, if so."""

    text: str
    needs: str


class Block(NamedTuple):
    """The commands of one fenced block."""

    document: str
    line: int
    commands: list[Command]

    @property
    def place(self) -> str:
        return f"{self.document}:{self.line}"


def fences() -> Iterator[tuple[str, int, str, str]]:
    """Document, line, language and content of every fenced block."""
    for path in DOCUMENTS:
        text = path.read_text()
        for match in FENCED.finditer(text):
            yield str(path.relative_to(ROOT)), text.count("\n", 0, match.start()) + 1, match[1], match[2]


def blocks() -> list[Block]:
    """The blocks of commands, in the order of the documents."""
    return [
        Block(document, line, list(_commands(content)))
        for document, line, language, content in fences()
        if language in SHELLS
    ]


def _commands(content: str) -> Iterator[Command]:
    deploys = False
    for line in content.replace("\\\n", " ").splitlines():
        text = line.strip().partition(" #")[0].strip()
        if text:
            deploys = deploys or text.startswith("make deploy")
            needs = "AWS" if deploys else ""
            yield Command(
                text, needs or next((why for why, how in ELSEWHERE.items() if how.search(text)), "")
            )


def words_of(command: str, program: str) -> Iterator[list[str]]:
    """The arguments of every call of a program in a command, also inside pipes and substitutions.

    >>> list(words_of('zcat *.gz | protloc predict - -o x.tsv', "protloc"))
    [['predict', '-', '-o', 'x.tsv']]
    >>> list(words_of('eval "$(protloc env)"', "protloc"))
    [['env']]
    """
    for part in re.split(r"\||&&|;|\$\(|\)", command):
        if re.match(rf'\s*["\']?(\.venv/bin/)?{program}\s', part):
            words = shlex.split(part.replace('"', " ") if part.count('"') % 2 else part)
            yield words[len(program.split()) :]
