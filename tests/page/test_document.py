"""The page is one document that asks for nothing, runs one script, and is made of the files of its folder."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re

import pytest

from functions.page.document import FOLDER, bundle, document

BUDGET_BYTES = 700_000


@pytest.mark.parametrize("live", [False, True])
def test_the_policy_allows_the_one_script_and_style_that_are_there_and_nothing_else(live: bool) -> None:
    page = document(live=live)
    text = (page.before + page.after).decode()
    scripts = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    styles = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
    assert len(scripts) == len(styles) == 1
    for kind, body in (("script", scripts[0]), ("style", styles[0])):
        digest = base64.b64encode(hashlib.sha256(body.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}';" in page.policy
    assert page.policy.startswith("default-src 'none';")
    assert "unsafe" not in page.policy and "http" not in page.policy and "*" not in page.policy
    assert ("connect-src" in page.policy) == live
    assert f'content="{page.policy}"' in text


def test_the_document_keeps_to_its_budget() -> None:
    page = document(live=True)
    assert len(gzip.compress(page.before + page.after)) < BUDGET_BYTES / 5


def test_nothing_in_our_modules_makes_markup_or_code_of_text() -> None:
    sinks = re.compile(
        r"innerHTML|outerHTML|insertAdjacent|document\.write|\beval\b|new Function|dangerouslySet|srcdoc|javascript:"
    )
    for path in FOLDER.rglob("*.js"):
        if "vendor" not in path.parts:
            assert not sinks.findall(path.read_text(encoding="utf-8")), path


def test_the_libraries_are_those_that_npm_has_and_come_with_their_licences() -> None:
    stated = json.loads((FOLDER / "vendor" / "hashes.json").read_text())
    files = {path.name for path in (FOLDER / "vendor").iterdir()} - {"hashes.json"}
    assert files == set(stated["sha256"])
    for name, digest in stated["sha256"].items():
        assert hashlib.sha256((FOLDER / "vendor" / name).read_bytes()).hexdigest() == digest
    assert {f"LICENSE.{package}" for package in stated["versions"]} <= files


def test_every_module_is_part_of_the_script() -> None:
    script = bundle("app.js")
    for path in FOLDER.rglob("*.js"):
        own = [
            line
            for line in path.read_text(encoding="utf-8").splitlines()
            if line.startswith(("const ", "function "))
        ]
        assert all(line in script for line in own), path
        assert f"_{path.stem} = (() => {{" in script
