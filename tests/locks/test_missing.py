"""A machine on which PyTorch or the locks cannot be installed gets a line for each thing that it lacks."""

import ast
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from locks import environment
from tests.locks.test_locks import PROJECT, ROOT

MACHINE = {
    "version_info": (3, 13, 1),
    "gil": 0,
    "modules": {"venv", "ensurepip"},
    "system": "Linux",
    "machine": "x86_64",
    "libc": ("glibc", "2.36"),
    "macos": "",
}
MAC = {"system": "Darwin", "machine": "arm64", "libc": ("", ""), "macos": "14.5"}


@pytest.mark.parametrize(
    "machine, lines",
    [
        ({}, []),
        ({"version_info": (3, 11, 0), "machine": "aarch64", "libc": ("glibc", "2.28")}, []),
        ({"version_info": (3, 14, 2)}, []),
        (MAC, []),
        (
            {"version_info": (3, 10, 12)},
            ["expected Python 3.11 to 3.14, found 3.10: make PYTHON=python3.12 run"],
        ),
        (
            {"version_info": (3, 15, 0)},
            ["expected Python 3.11 to 3.14, found 3.15: make PYTHON=python3.12 run"],
        ),
        ({"gil": 1}, ["expected a Python with the global interpreter lock, found a free-threaded one"]),
        (
            {"modules": {"venv"}},
            [
                "expected Python's modules venv and ensurepip, not there: install python3.13-venv on Debian and Ubuntu"
            ],
        ),
        (
            {"machine": "armv7l"},
            [
                "expected Linux on x86_64 or aarch64, or macOS on arm64, found Linux on armv7l: PyTorch has no build for it"
            ],
        ),
        (
            MAC | {"machine": "x86_64"},
            [
                "expected Linux on x86_64 or aarch64, or macOS on arm64, found Darwin on x86_64: PyTorch has no build for it"
            ],
        ),
        (MAC | {"macos": "13.6"}, ["expected macOS 14.0 or newer, found 13.6"]),
        (
            {"libc": ("", "")},
            ["expected glibc 2.28 or newer, found another C library: PyTorch has no such build"],
        ),
        (
            {"libc": ("glibc", "2.17")},
            ["expected glibc 2.28 or newer, found glibc 2.17: PyTorch has no such build"],
        ),
    ],
)
def test_each_thing_a_machine_lacks_is_reported_in_one_line(
    machine: dict[str, object], lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    here = SimpleNamespace(**MACHINE | machine)
    monkeypatch.setattr(environment.sys, "version_info", here.version_info)
    monkeypatch.setattr(environment.sysconfig, "get_config_var", lambda _: here.gil)
    monkeypatch.setattr(environment.importlib.util, "find_spec", lambda name: name in here.modules)
    monkeypatch.setattr(environment.platform, "system", lambda: here.system)
    monkeypatch.setattr(environment.platform, "machine", lambda: here.machine)
    monkeypatch.setattr(environment.platform, "libc_ver", lambda: here.libc)
    monkeypatch.setattr(environment.platform, "mac_ver", lambda: (here.macos, "", ""))
    monkeypatch.setattr(environment.shutil, "which", lambda name: "there" if name == "python3.12" else None)
    lacks = environment.missing()
    monkeypatch.undo()
    assert lacks == lines


@pytest.mark.parametrize(
    "script, gpu", [("echo 'GPU 0: NVIDIA H100'", True), ("echo 'No devices were found'; exit 6", False)]
)
def test_a_gpu_is_one_that_its_driver_lists(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, gpu: bool
) -> None:
    monkeypatch.undo()
    if os.path.exists("/proc/driver/nvidia/version"):
        assert environment.nvidia()
        return
    (tmp_path / "nvidia-smi").write_text(f"#!/bin/sh\n{script}\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert environment.nvidia() is gpu


def test_a_python_that_is_too_old_can_read_that_it_is() -> None:
    ast.parse((ROOT / "locks" / "environment.py").read_text(), feature_version=(3, 7))


def test_the_oldest_python_is_the_one_that_the_package_asks_for() -> None:
    assert PROJECT["project"]["requires-python"] == ">=" + environment.dotted(environment.OLDEST)
