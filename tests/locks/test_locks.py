"""Installed packages are the locked ones, by hash, and the bills of materials name them."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
FUNCTIONS = ROOT / "functions" / "requirements.txt"
LOCKS = {name: ROOT / "locks" / f"{name}.txt" for name in ("run", "develop", "checkov", "sam")} | {
    "functions": FUNCTIONS
}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def locked(path: Path) -> dict[str, set[str]]:
    """The versions of each package in a lock: more than one where they differ by system."""
    hashes: dict[str, set[str]] = {}
    for name, version in re.findall(r"^([\w.-]+)==([^\s;]+)", path.read_text(), re.MULTILINE):
        hashes.setdefault(normal(name), set()).add(version)
    return hashes


def pinned(requirements: list[str]) -> dict[str, str]:
    """Name and version of each requirement that is pinned; every one must be."""
    versions = {}
    for requirement in requirements:
        if requirement.startswith("protloc["):
            continue
        match = re.fullmatch(r"([\w.-]+)(?:\[[\w,-]+\])?==([\w.+-]+)", requirement)
        assert match, f"not pinned: {requirement}"
        versions[normal(match[1])] = match[2]
    return versions


RUN = pinned(PROJECT["project"]["dependencies"])
EXTRAS = {name: pinned(extra) for name, extra in PROJECT["project"]["optional-dependencies"].items()}


@pytest.mark.parametrize("name", LOCKS)
def test_every_package_of_a_lock_has_one_version_and_its_hashes(name: str) -> None:
    entries = re.split(r"\n(?=\S)", LOCKS[name].read_text().strip())
    assert entries
    for entry in entries:
        assert re.match(r"[\w.-]+==\S+ ", entry) and "--hash=sha256:" in entry, entry[:80]


def test_the_locks_hold_what_the_project_asks_for() -> None:
    torch = {
        "torch": RUN["torch"]
    }  # installed before, alone: which build, and so which hash, is the machine's
    requirements = {
        "run": RUN,
        "develop": RUN | EXTRAS["test"] | EXTRAS["check"] | EXTRAS["lora"] | EXTRAS["sagemaker"],
    }
    for name, versions in requirements.items():
        locked_versions = locked(LOCKS[name])
        assert (
            versions.items() - {name: next(iter(v)) for name, v in locked_versions.items()}.items()
            == torch.items()
        )
        assert not [
            package
            for package in locked_versions
            if package.startswith(("torch", "nvidia", "cuda", "triton"))
        ]
    [metadata] = PROJECT["tool"]["uv"]["dependency-metadata"]
    assert {metadata["name"]: metadata["version"]} == torch


def test_the_locks_hold_what_the_cpu_build_requires() -> None:
    [metadata] = PROJECT["tool"]["uv"]["dependency-metadata"]
    names = {re.split("[<>=]", requirement)[0] for requirement in metadata["requires-dist"]}
    assert names and names <= locked(LOCKS["run"]).keys()


def test_what_develops_is_what_runs_and_more() -> None:
    develop = locked(LOCKS["develop"])
    assert all(develop[name] == versions for name, versions in locked(LOCKS["run"]).items())
    assert all(develop[name] == versions for name, versions in locked(FUNCTIONS).items())


def test_no_cloud_compiles_a_grammar_before_it_deploys() -> None:
    assert "rfc3987-syntax" not in locked(LOCKS["develop"]), "jsonschema would import it, for a second"


def test_the_package_of_the_functions_is_small() -> None:
    assert set(locked(FUNCTIONS)) == {"aws-lambda-powertools", "jmespath", "orjson", "typing-extensions"}


def test_every_check_that_is_skipped_says_why() -> None:
    text = (ROOT / ".ci" / "checkov.yaml").read_text()
    skipped = yaml.safe_load(text)["skip-check"]
    assert len(re.findall(r"^  - CKV\w+ # .{20,}$", text, re.MULTILINE)) == len(skipped) == len(set(skipped))
    baseline = json.loads((ROOT / ".ci" / "secrets.json").read_text())
    assert all(each["is_secret"] is False for secrets in baseline["results"].values() for each in secrets)


def components(path: Path) -> dict[str, str]:
    bill: dict[str, Any] = json.loads(path.read_text())
    assert bill["bomFormat"] == "CycloneDX"
    return {normal(each["name"]): each["version"].split("+")[0] for each in bill["components"]}


# Against CycloneDX's schema it takes fifteen seconds.
@pytest.mark.parametrize("check", ["--no-validate", pytest.param("--validate", marks=pytest.mark.slow)])
def test_the_bills_of_materials_name_the_pinned_versions(tmp_path: Path, check: str) -> None:
    tools = Path(sys.executable).parent
    command = ["make", "--assume-old=.venv/develop.stamp", "sbom", f"BIN={tools}", f"SBOM={tmp_path}"]
    command.append(f"SBOM_CHECK={check}")
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lambdas = components(tmp_path / "functions.json")
    assert {name: {version} for name, version in lambdas.items()} == locked(FUNCTIONS)
    here = components(tmp_path / "environment.json")
    assert (RUN | EXTRAS["test"]).items() <= here.items()
