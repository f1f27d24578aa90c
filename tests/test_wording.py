"""The language of the sources: docstrings state something, and variables are nouns."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from functools import cache

import pytest

from tests.house import ROOT

FOLDERS = ("benchmarks", "functions", "locks", "model", "protloc", "tests")
INTERROGATIVES = {"what", "whatever", "who", "whoever", "whose", "whom", "whether"}
PARTICIPLES = {"found", "given", "got", "heard", "said", "spoken", "told"}
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


# Only sources with such a word where one could stand are parsed.
SUSPICIOUS = re.compile(
    rf'"""({"|".join(INTERROGATIVES)})\b|\b({"|".join(PARTICIPLES)})\b\s*([:,)\]=+*/|&-]|in\b)', re.IGNORECASE
)


@cache
def trees() -> dict[str, ast.Module]:
    """The sources that may break a rule, by their paths."""
    paths = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")]
    texts = {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in paths}
    return {path: ast.parse(text) for path, text in texts.items() if SUSPICIOUS.search(text)}


def interrogatives(tree: ast.AST) -> Iterator[str]:
    """The first words of docstrings that are no statement."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, *FUNCTIONS)):
            text = ast.get_docstring(node) or ""
            if text.partition(" ")[0].lower() in INTERROGATIVES:
                yield text.partition("\n")[0]


def participles(tree: ast.AST) -> Iterator[str]:
    """Variables and arguments in functions that are no noun; `found` is one beside `expected`."""
    for function in ast.walk(tree):
        if isinstance(function, FUNCTIONS):
            inner = list(ast.walk(function))
            names = {node.arg for node in inner if isinstance(node, ast.arg)}
            names |= {n.id for n in inner if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
            yield from sorted(PARTICIPLES & names - ({"found"} if "expected" in names else set()))


@pytest.mark.parametrize("faults", [interrogatives, participles])
def test_no_source_has(faults: Callable[[ast.AST], Iterator[str]]) -> None:
    texts = {path: list(faults(tree)) for path, tree in trees().items()}
    assert {path: words for path, words in texts.items() if words} == {}


def _case(source: str) -> tuple[list[str], list[str]]:
    tree = ast.parse(source)
    return list(interrogatives(tree)), list(participles(tree))


def test_the_rules_see_what_they_forbid() -> None:
    assert _case('"""What a row is."""\ndef f(told):\n    found = told\n') == (
        ["What a row is."],
        ["found", "told"],
    )
    assert _case('"""A row."""\ndef f(found, expected):\n    row = found\n') == ([], [])
