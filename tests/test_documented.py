"""The documentation names commands that exist: their names, options and targets are there.

`end_to_end/test_documented_commands.py` runs those that can be run here.
"""

from __future__ import annotations

import argparse
import re
import runpy
import sys
from collections.abc import Iterator

import click
import pytest

from protloc.cli.main import main
from tests.documented import DOCUMENTS, INLINE, ROOT, SHELLS, blocks, fences, words_of

COMMANDS = [(block.place, command.text) for block in blocks() for command in block.commands]


def test_every_block_says_its_language() -> None:
    known = {*SHELLS, "text", "mermaid", "yaml", "json", "python", "r"}
    assert not [
        (document, line, language) for document, line, language, _ in fences() if language not in known
    ]


def subcommands(group: click.Command, before: str = "protloc") -> Iterator[tuple[str, click.Command]]:
    yield before, group
    if isinstance(group, click.Group):
        for name, command in group.commands.items():
            yield from subcommands(command, f"{before} {name}")


def calls_of_protloc() -> list[tuple[str, list[str]]]:
    """Every call that a block, a sentence or a command's own help shows."""
    texts = COMMANDS + [
        (str(path.relative_to(ROOT)), text) for path in DOCUMENTS for text in INLINE.findall(path.read_text())
    ]
    for name, command in subcommands(main):
        texts += [
            (f"{name} --help", line) for line in re.findall(r"^ +(.*\bprotloc .*)$", command.help or "", re.M)
        ]
    return [(place, words) for place, text in texts for words in words_of(text, "protloc")]


@pytest.mark.parametrize(("place", "words"), calls_of_protloc())
def test_a_call_of_protloc_names_commands_and_options_that_there_are(place: str, words: list[str]) -> None:
    command: click.Command = main
    while isinstance(command, click.Group) and words and words[0] in command.commands:
        command, words = command.commands[words[0]], words[1:]
    assert command is not main or not words or words[0].startswith("-"), f"{place}: no command {words[0]}"
    if isinstance(command, click.Group) and command is not main:
        assert not words or words[0].startswith("-"), f"{place}: no command {words[0]}"
    options = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    options |= {"--help", "-h", "--version", "-V", "--quiet", "-q", "--verbose", "-v"}
    asked = {word.partition("=")[0] for word in words if re.match(r"--?[a-zA-Z]", word)}
    assert asked <= options, f"{place}: {asked - options}"


@pytest.mark.parametrize(
    "target",
    sorted({word for _, text in COMMANDS for [word, *_] in words_of(text, "make") if "=" not in word}),
)
def test_a_target_of_make_is_there(target: str) -> None:
    assert re.search(rf"^{re.escape(target)}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


class Parsed(BaseException):
    """The arguments were understood; programs tell of every `Exception`."""


@pytest.mark.parametrize(
    ("place", "text"), [(place, text) for place, text in COMMANDS if "python -m model." in text]
)
def test_a_program_of_model_takes_the_arguments_that_are_shown(
    place: str, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = argparse.ArgumentParser.parse_args

    def parse(self: argparse.ArgumentParser, *arguments: object, **named: object) -> None:
        plain(self, *arguments, **named)  # type: ignore[call-overload]
        raise Parsed

    [words] = words_of(text, "python -m")
    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse)
    monkeypatch.delitem(sys.modules, words[0], raising=False)  # it is run as a program
    monkeypatch.setattr(sys, "argv", [words[0], *words[1:]])
    with pytest.raises(Parsed):
        runpy.run_module(words[0], run_name="__main__", alter_sys=True)
