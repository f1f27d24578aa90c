"""The code that comes with a model reaches nothing but its own folder, where the system permits that."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from protloc.cloud.sagemaker import components, confined
from protloc.cloud.sagemaker.components import Copy

# Each way out, as the model's code would try it when it is loaded.
INFERENCE = """
import json, os, resource, signal, socket, subprocess, sys

def tried(call):
    try:
        return repr(call())
    except Exception as problem:
        return type(problem).__name__

def read(path):
    with open(path) as file:
        return file.read()

def write(path):
    with open(path, "w") as file:
        return file.write("x")

def connect(port):
    return socket.create_connection(("127.0.0.1", port), 5)

def model_fn(model_dir):
    with open(os.path.join(model_dir, "weights.json")) as file:
        asked = json.load(file)
    return {
        "secret": tried(lambda: read(asked["secret"])),
        "listing": tried(lambda: os.listdir(os.path.dirname(asked["secret"]))),
        "write": tried(lambda: write(asked["secret"])),
        "own": tried(lambda: write(os.path.join(model_dir, "more"))),
        "escape": tried(lambda: os.symlink(asked["secret"], os.path.join(os.environ["HOME"], "link"))
            or read(os.path.join(os.environ["HOME"], "link"))),
        "scratch": tried(lambda: write(os.path.join(os.environ["TMPDIR"], "kept"))),
        "network": tried(lambda: connect(asked["port"])),
        "starter": tried(lambda: os.kill(os.getppid(), 0)),
        "environ": tried(lambda: read(f"/proc/{os.getppid()}/environ")),
        "child": tried(lambda: subprocess.run(["cat", asked["secret"]], check=True, capture_output=True)),
        "core": resource.getrlimit(resource.RLIMIT_CORE)[0],
        "variables": sorted(os.environ),
        "descriptors": len(os.listdir("/proc/self/fd")),
    }

def input_fn(body, content_type):
    return None

def predict_fn(data, model):
    return model

def output_fn(prediction, accept):
    return json.dumps(prediction), accept
"""


@pytest.fixture
def found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """The findings of a model's code about what it may do."""
    import socket

    monkeypatch.delenv(components.FOLDERS_VARIABLE)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    secret = tmp_path / "home" / "credentials"
    secret.parent.mkdir()
    secret.write_text("a-secret")
    model = tmp_path / "models" / "m"
    (model / "code").mkdir(parents=True)
    (model / "code" / "inference.py").write_text(INFERENCE)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        asked = {"secret": str(secret), "port": listening.getsockname()[1]}
        (model / "weights.json").write_text(json.dumps(asked))
        copy = Copy(model, {}, tmp_path / "log")
        try:
            copy.wait_ready(600)
            status, _, answer = copy.request("POST", "/invocations", b"{}", {})
        finally:
            copy.stop()
    assert status == 200 and secret.read_text() == "a-secret"
    answered: dict[str, object] = json.loads(answer)
    return answered


def test_code_of_a_model_reads_and_writes_its_own_files_only(found: dict[str, object]) -> None:
    if not confined.measures()["files"]:
        assert sys.platform != "linux" or not os.path.exists("/sys/kernel/security/landlock")
        return
    for name in ("secret", "listing", "write", "own", "escape", "environ", "starter"):
        assert found[name] == "PermissionError", (name, found)
    assert found["child"] == "CalledProcessError"
    assert found["scratch"] == "1"


def test_code_of_a_model_reaches_no_network(found: dict[str, object]) -> None:
    measures = confined.measures()
    if measures["network"] or measures["files"]:
        assert found["network"] in ("OSError", "PermissionError", "ConnectionRefusedError"), found


def test_code_of_a_model_is_given_no_credentials_and_nothing_of_the_clouds(found: dict[str, object]) -> None:
    variables = found["variables"]
    assert isinstance(variables, list) and not [name for name in variables if name.startswith("AWS_")]
    assert set(variables) <= {
        *(
            "PATH",
            "LANG",
            "LC_CTYPE",
            "HOME",
            "TMPDIR",
            "PYTHONUNBUFFERED",
            "SM_MODEL_DIR",
            "OMP_NUM_THREADS",
        ),
        "OMP_WAIT_POLICY",
    }
    assert found["core"] == 0


def test_a_command_runs_where_nothing_can_be_taken_away(tmp_path: Path) -> None:
    """As in a container that forbids it: the calls fail, and the command runs."""
    program = f"""
import runpy, sys
sys.platform = "darwin"
sys.argv = ["confined", {str(tmp_path)!r}, "--", {sys.executable!r}, "-c", "print('it runs')"]
runpy.run_path({confined.__file__!r}, run_name="__main__")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "it runs\n"


def test_a_model_server_listens_nowhere(tmp_path: Path) -> None:
    import psutil

    model = tmp_path / "m"
    (model / "code").mkdir(parents=True)
    (model / "code" / "inference.py").write_text("def model_fn(folder):\n    pass\n")
    copy = Copy(model, {}, tmp_path / "log")
    try:
        copy.wait_ready(600)
        assert not psutil.Process(copy.process.pid).net_connections("inet")
    finally:
        copy.stop()
    assert tempfile.gettempdir() in os.environ[components.FOLDERS_VARIABLE]
