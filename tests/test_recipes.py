"""The recipes for Bioconda, Galaxy, Nextflow and Snakemake agree with the package and its command line."""

from __future__ import annotations

import re
import tomllib
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
import yaml

from protloc.cli.main import predict
from tests.conftest import ROOT

RECIPES = ROOT / "docs" / "recipes"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
ON_CONDA = {"matplotlib": "matplotlib-base", "torch": "pytorch"}
CALLING = [
    RECIPES / "bioconda" / "meta.yaml",
    RECIPES / "galaxy" / "protloc_predict.xml",
    RECIPES / "nextflow" / "protloc" / "predict" / "main.nf",
    RECIPES / "snakemake" / "protloc" / "predict" / "wrapper.py",
]


def test_the_conda_package_requires_what_the_package_requires() -> None:
    text = (RECIPES / "bioconda" / "meta.yaml").read_text()
    run = text.partition("  run:\n")[2].partition("\n\n")[0]
    required = dict(re.findall(r"- (\S+) =(\S+)", run))
    pinned = (each.partition("[")[0].split("==") for each in PROJECT["dependencies"])
    assert required == {ON_CONDA.get(name, name.lower()): version for name, version in pinned}


def test_every_recipe_is_of_this_version() -> None:
    version = PROJECT["version"]
    texts = {
        path: path.read_text()
        for path in RECIPES.rglob("*")
        if path.suffix in (".yaml", ".yml", ".xml", ".nf")
    }
    named = {
        path: set(re.findall(r'(?:protloc[ :]?=|protloc:|version = "|TOOL_VERSION@">)(\d+\.\d+\.\d+)', text))
        for path, text in texts.items()
    }
    assert {path.name for path, versions in named.items() if versions} == {
        *("meta.yaml", "protloc_predict.xml", "environment.yml", "environment.yaml", "main.nf")
    }
    assert all(versions <= {version} for versions in named.values()), named


@pytest.mark.parametrize("path", CALLING, ids=lambda path: str(path.relative_to(RECIPES)))
def test_a_recipe_calls_predict_with_options_that_there_are(path: Path) -> None:
    known = {name for parameter in predict.params for name in (*parameter.opts, *parameter.secondary_opts)}
    asked = set(re.findall(r"(?<=[\s\"'])--[a-z-]+", _call_in(path.read_text())))
    assert "--once" in asked and asked <= known


def _call_in(text: str) -> str:
    begin = text.index("protloc predict {") if "protloc predict {" in text else text.index("protloc predict ")
    return re.split(r'\n\s*"""|&&|\n\)|grep', text[begin:].replace('"\n    "', " "))[0]


def test_files_in_yaml_and_xml_can_be_read() -> None:
    ElementTree.parse(RECIPES / "galaxy" / "protloc_predict.xml")
    for path in [*RECIPES.rglob("*.yml"), *(RECIPES / "snakemake").rglob("*.yaml")]:
        assert yaml.safe_load(path.read_text())
