"""Makes `.venv` and puts PyTorch into it: the first step of the Makefile, with the standard library alone.

PyTorch is installed first and alone, because which build fits depends on the machine. On Linux, PyPI's build
brings CUDA with it, 2.9 GB to download, on x86-64 as on aarch64. So where there is no NVIDIA GPU, and pip is
not configured to look elsewhere, the build is taken from PyTorch's own index of CPU builds
(https://pytorch.org/get-started/locally/); where that does not answer within seconds, pip chooses. Everything
else is installed from the locks, by hash; they hold all that a CPU build requires.

An older Python must be able to read this file, to say that it is too old: so annotations are quoted.
"""

import argparse
import ast
import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from typing import NamedTuple

OLDEST, NEWEST = (3, 11), (3, 14)  # of NumPy 2.4; of the wheels of PyTorch 2.13
# Where PyTorch 2.13 and the locks have wheels (awslambdaric is compiled on macOS).
MACHINES = {"Linux": ("x86_64", "aarch64"), "Darwin": ("arm64",)}
GLIBC = (2, 28)  # manylinux_2_28
MACOS = (14, 0)  # macosx_14_0

PATIENCE_SECONDS = 5  # for an index to connect, and to go on with an answer
ANSWER_SECONDS = 40  # for the whole of an answer, also on a busy machine
# pip's options for its sources. A constraint isn't one: it holds for any index.
SOURCES = ("index-url", "pypi-url", "extra-index-url", "find-links", "no-index")
PYPI = "https://pypi.org/simple"


class Size(NamedTuple):
    """Megabytes to download, and then of disk, as measured on Linux and rounded up."""

    download: int
    disk: int

    def beside(self, other: "Size") -> "Size":
        return Size(self.download + other.download, self.disk + other.disk)


CPU, CUDA, RUN, DEVELOP = Size(200, 800), Size(2900, 4700), Size(160, 750), Size(165, 870)


def missing() -> "list[str]":
    """Returns the things this Python or machine lacks, one line each."""
    lines = []
    here = sys.version_info[:2]
    if not OLDEST <= here <= NEWEST:
        lines.append(
            f"expected Python {dotted(OLDEST)} to {dotted(NEWEST)}, found {dotted(here)}" + alternative()
        )
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        lines.append("expected a Python with the global interpreter lock, found a free-threaded one")
    if not (importlib.util.find_spec("venv") and importlib.util.find_spec("ensurepip")):
        package = f"python{dotted(here)}-venv on Debian and Ubuntu"
        lines.append(f"expected Python's modules venv and ensurepip, not there: install {package}")
    system, machine = platform.system(), platform.machine()
    if machine not in MACHINES.get(system, ()):
        known = "Linux on x86_64 or aarch64, or macOS on arm64"
        lines.append(f"expected {known}, found {system} on {machine}: PyTorch has no build for it")
    elif system == "Linux":
        library, release = platform.libc_ver()
        if library != "glibc" or numbers(release) < GLIBC:
            other = f"{library} {release}".strip() or "another C library"
            lines.append(f"expected glibc {dotted(GLIBC)} or newer, found {other}: PyTorch has no such build")
    elif numbers(platform.mac_ver()[0]) < MACOS:
        lines.append(f"expected macOS {dotted(MACOS)} or newer, found {platform.mac_ver()[0]}")
    return lines


def numbers(release: str) -> "tuple[int, ...]":
    return tuple(map(int, re.findall(r"\d+", release)))


def dotted(parts: "tuple[int, ...]") -> str:
    return ".".join(map(str, parts))


def alternative() -> str:
    """Names a Python on this machine that would do, newest first."""
    for minor in range(NEWEST[1], OLDEST[1] - 1, -1):
        if shutil.which(f"python3.{minor}"):
            return f": make PYTHON=python3.{minor} run"
    return ""


def short_of_disk(venv: str, size: Size) -> "list[str]":
    """Returns where there is too little room, one line a file system.

    While pip installs, its downloads lie in its cache and in the folder for temporary files.
    """
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    cache = os.environ.get("PIP_CACHE_DIR") or os.path.join(cache, "pip")
    temporary = tempfile.gettempdir()
    needs: dict[int, dict[str, int]] = {}
    for place, megabytes in ((venv, size.disk), (cache, size.download), (temporary, size.download)):
        needs.setdefault(os.stat(existing(place)).st_dev, {})[place] = megabytes
    lines = []
    for places in needs.values():
        free = shutil.disk_usage(existing(next(iter(places)))).free // 10**6
        total = sum(places.values())
        if free < total:
            lines.append(f"expected {total:,} MB free for {', '.join(places)}, found {free:,} MB")
    return lines


def existing(place: str) -> str:
    """Returns the place, or the folder it would be made in."""
    place = os.path.abspath(place)
    while not os.path.exists(place):
        place = os.path.dirname(place)
    return place


def configured(listed: str) -> "dict[str, str]":
    """Returns pip's options for installing by name, from the output of `pip config list`."""
    options: dict[str, str] = {}
    for section in ("global", "install", ":env:"):  # as pip reads them: the last holds
        for name, value in re.findall(rf"^{section}\.(\S+?)=(.*)$", listed, re.MULTILINE):
            options[name.lower().replace("_", "-")] = str(ast.literal_eval(value))
    return options


def sources(options: "dict[str, str]") -> "list[str]":
    """Returns which options make pip look elsewhere than on PyPI, or elsewhere too."""
    unset = ("", "0", "false", "no", "off", PYPI)
    return [name for name in SOURCES if options.get(name, "").lower().rstrip("/") not in unset]


class Pip:
    """The pip of an environment, with its configuration."""

    def __init__(self, venv: str) -> None:
        self.command = [os.path.join(venv, "bin", "python"), "-m", "pip", "--disable-pip-version-check"]
        listed = subprocess.run([*self.command, "config", "list"], check=True, stdout=subprocess.PIPE)
        self.options = configured(listed.stdout.decode())

    def environment(self, index: str) -> "dict[str, str]":
        """Returns variables by which pip looks in that index alone, with all else as it is configured."""
        if not index:
            return dict(os.environ)
        kept = {name: value for name, value in self.options.items() if name not in SOURCES}
        return {
            **{name: value for name, value in os.environ.items() if not name.startswith("PIP_")},
            **{"PIP_" + name.upper().replace("-", "_"): value for name, value in kept.items()},
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_INDEX_URL": index,
        }

    def offered(self, requirement: str, index: str) -> str:
        """Returns the build that pip would take, such as 2.13.0+cpu; nothing if no index answers in time."""
        package, _, wanted = requirement.partition("==")
        words = ["index", "versions", package, "--retries", "0", "--timeout", str(PATIENCE_SECONDS)]
        try:
            answer = subprocess.run(
                [*self.command, *words],
                env=self.environment(index),
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                timeout=ANSWER_SECONDS,
            )
        except subprocess.TimeoutExpired:
            return ""
        for line in answer.stdout.decode().splitlines():
            if line.startswith("Available versions:"):
                builds = line.partition(":")[2].replace(",", " ").split()
                return next((build for build in builds if build.partition("+")[0] == wanted), "")
        return ""

    def install(self, requirement: str, index: str) -> bool:
        """Installs PyTorch: from a named index alone and without long waits, else with its requirements."""
        words = ["--no-deps", "--retries", "2", "--timeout", str(2 * PATIENCE_SECONDS)] if index else []
        command = [*self.command, "--quiet", "install", *words, requirement]
        return subprocess.call(command, env=self.environment(index)) == 0


def nvidia() -> bool:
    """Tells whether this machine has an NVIDIA GPU with its driver."""
    if os.path.exists("/proc/driver/nvidia/version"):
        return True
    try:
        command = ["nvidia-smi", "-L"]
        listed = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return listed.returncode == 0 and b"GPU" in listed.stdout


def holds(venv: str, requirement: str) -> bool:
    """Tells whether the environment has the PyTorch that is asked for."""
    package, _, wanted = requirement.partition("==")
    code = f"from importlib.metadata import version; print(version({package!r}))"
    return python(venv, code).partition("+")[0] == wanted


def own(venv: str) -> bool:
    """Tells whether the environment is whole and of this Python."""
    code = "import pip, sys; print(*sys.version_info[:2], sep='.')"
    return python(venv, code) == dotted(sys.version_info[:2])


def python(venv: str, code: str) -> str:
    """Returns the output of the environment's Python, or nothing where it fails."""
    command = [os.path.join(venv, "bin", "python"), "-c", code]
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    except OSError:
        return ""
    return done.stdout.decode().strip() if done.returncode == 0 else ""


def say(line: str) -> None:
    print(line, flush=True)


def refuse(lines: "list[str]") -> int:
    for line in lines:
        print(f"protloc: {line}", file=sys.stderr, flush=True)
    return 1 if lines else 0


def install_torch(venv: str, requirement: str, index: str, chosen: bool) -> int:
    """Makes the environment and installs PyTorch, unless it is there; returns an exit status."""
    if holds(venv, requirement):
        return 0
    lines = [*missing(), *short_of_disk(venv, CPU.beside(RUN))]
    if lines:
        return refuse(lines)
    say(f"Setting up {venv}, once.")
    if not own(venv) and subprocess.call([sys.executable, "-m", "venv", "--clear", venv]) != 0:
        return refuse([f"Python's venv could not make {venv}"])
    pip = Pip(venv)
    if index and not chosen:
        if platform.system() == "Darwin":
            index = ""  # where pip's own build is without CUDA
        elif nvidia():
            say("There is an NVIDIA GPU: PyTorch comes with CUDA, from where pip takes it.")
            index = ""
        elif sources(pip.options):
            say(f"pip is configured ({', '.join(sources(pip.options))}) and chooses PyTorch's build.")
            index = ""
    for source in dict.fromkeys((index, "")):
        build = pip.offered(requirement, source)
        if source and not build:
            say(f"{source} is out of reach or lacks {requirement} for this Python: pip chooses the build.")
            continue
        light = build.endswith("+cpu") or platform.system() == "Darwin"
        torch = CPU if light else CUDA
        size = torch.beside(RUN)
        name = f"PyTorch {build}{'' if light else ' with CUDA'}{' from ' + source if source else ''}"
        say(f"To download: {name}, {torch.download:,} MB, and the locked packages, {RUN.download:,} MB.")
        say(f"Disk: about {size.disk:,} MB in {venv}, and {size.download:,} MB in pip's cache.")
        lines = short_of_disk(venv, size)
        if lines:
            return refuse(lines)
        if pip.install(requirement, source):
            return 0
        if source:
            say(f"PyTorch could not be installed from {source}: pip chooses the build.")
    return 1


def announce(venv: str) -> int:
    """Prints the size that tests and checks add to an environment, or that there is no room for them."""
    say(f"To download for tests and checks: {DEVELOP.download} MB; disk: {DEVELOP.disk} MB more in {venv}.")
    return refuse(short_of_disk(venv, DEVELOP))


def main(arguments: "list[str] | None" = None) -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("venv")
    parser.add_argument("--torch", metavar="REQUIREMENT", help="make it, with this PyTorch in it")
    parser.add_argument("--index", default="", help="where to look for PyTorch if there is no NVIDIA GPU")
    parser.add_argument("--chosen", action="store_true", help="look there whatever the machine and pip are")
    options = parser.parse_args(arguments)
    if options.torch:
        return install_torch(options.venv, options.torch, options.index, options.chosen)
    return announce(options.venv)


if __name__ == "__main__":
    sys.exit(main())
