"""Memory is flat for files of any size: the real functions, each in a process of its own.

The bound is half of the template's memory; it includes Python and the clients' libraries.
"""

import json
import subprocess
import sys
from typing import Any

import pytest

from tests.conftest import ROOT

MAX_MIB = 256
FLAT_MIB = 40
MB, GB = 1_000_000, 1_000_000_000


def measured(what: str, size: int, *options: str) -> dict[str, Any]:
    arguments = [sys.executable, "-m", "tests.functions.large", what, str(size), *options]
    process = subprocess.run(arguments, cwd=ROOT, check=True, capture_output=True, text=True)
    figures: dict[str, Any] = json.loads(process.stdout.splitlines()[-1])
    assert figures["peak_mib"] <= MAX_MIB
    return figures


def test_splitting_takes_the_same_memory_for_a_megabyte_and_for_five_gigabytes() -> None:
    small, large = measured("split", MB), measured("split", 5 * GB, "--every", "250")
    assert large["peak_mib"] <= small["peak_mib"] + FLAT_MIB
    assert large["longest_message"] < 1024 * 1024


def test_decompressing_takes_the_same_memory_for_little_and_for_much() -> None:
    small, large = measured("inflate", 20 * MB), measured("inflate", 400 * MB)
    assert large["bytes_written"] >= 400 * MB
    assert large["peak_mib"] <= small["peak_mib"] + FLAT_MIB


@pytest.mark.slow
def test_merging_results_takes_the_same_memory_for_a_small_shard_and_for_a_huge_one() -> None:
    """A shard is as long as the thousandth part of its file, or longer."""
    small = measured("complete", MB)
    large = measured("complete", 40 * MB, "--shard-bytes", str(40 * MB))
    assert large["bytes_written"] > 40 * MB
    assert large["peak_mib"] <= small["peak_mib"] + FLAT_MIB


def test_a_record_of_a_hundred_megabytes_is_rejected_in_the_memory_of_a_small_one() -> None:
    small, large = measured("record", MB), measured("record", 100 * MB)
    assert small["reasons"] == ["983,275 residues are more than the 100,000 that are read"]
    assert large["reasons"] == ["98,333,275 residues are more than the 100,000 that are read"]
    assert large["messages"] == 0
    assert large["peak_mib"] <= small["peak_mib"] + FLAT_MIB


@pytest.mark.slow
def test_a_shard_of_nothing_but_empty_records_takes_no_more() -> None:
    figures = measured("empty", MB // 2)
    assert figures["reasons"] == ["the record holds no residues"]
    assert figures["peak_mib"] <= measured("split", MB)["peak_mib"] + FLAT_MIB


@pytest.mark.large
@pytest.mark.parametrize(("what", "options"), [("split", ["--every", "10"]), ("inflate", [])])
def test_five_gigabytes_take_no_more_than_that(what: str, options: list[str]) -> None:
    assert measured(what, 5 * GB, *options)["seconds"] < 900
