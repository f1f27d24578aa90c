"""The code that comes with a model reaches nothing but its own folder, where the system permits that."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from protloc.cloud.sagemaker import confined, servers, training
from protloc.cloud.sagemaker.servers import ModelServer

# Each way out, as the model's code, or a job's program, would try it.
ATTEMPTS = """
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

def attempts(asked, own):
    return {
        "secret": tried(lambda: read(asked["secret"])),
        "listing": tried(lambda: os.listdir(os.path.dirname(asked["secret"]))),
        "write": tried(lambda: write(asked["secret"])),
        "own": tried(lambda: write(os.path.join(own, "more"))),
        "escape": tried(lambda: os.symlink(asked["secret"], os.path.join(os.environ["HOME"], "link"))
            or read(os.path.join(os.environ["HOME"], "link"))),
        "scratch": tried(lambda: write(os.path.join(os.environ["TMPDIR"], "kept"))),
        "network": tried(lambda: connect(asked["port"])),
        "cloud": tried(lambda: connect(asked["cloud"]).close()),
        "listen": tried(lambda: socket.create_server(("127.0.0.1", 0)).close()),
        "memory": tried(lambda: len(bytearray(asked["memory"]))),
        "first_to_end": tried(lambda: read("/proc/self/oom_score_adj").strip()),
        "lock": tried(lambda: __import__("multiprocessing").Lock().acquire()),
        "starter": tried(lambda: os.kill(os.getppid(), 0)),
        "environ": tried(lambda: read(f"/proc/{os.getppid()}/environ")),
        "child": tried(lambda: subprocess.run(["cat", asked["secret"]], check=True, capture_output=True)),
        "core": resource.getrlimit(resource.RLIMIT_CORE)[0],
        "variables": sorted(os.environ),
        "descriptors": len(os.listdir("/proc/self/fd")),
    }
"""

INFERENCE = """
def model_fn(model_dir):
    with open(os.path.join(model_dir, "weights.json")) as file:
        return attempts(json.load(file), model_dir)

def input_fn(body, content_type):
    return None

def predict_fn(data, model):
    return model

def output_fn(prediction, accept):
    return json.dumps(prediction), accept
"""


MAX_MEMORY_BYTES = int(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") * 0.8)


@contextmanager
def asked(secret: Path) -> Iterator[dict[str, object]]:
    """The things to attempt: a file, two ports that listen, and more memory than one process may have."""
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as cloud:
        ports = {"port": one.getsockname()[1], "cloud": cloud.getsockname()[1]}
        yield {"secret": str(secret), "memory": MAX_MEMORY_BYTES, **ports}


@pytest.fixture
def findings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """The findings of a model's code about its permissions."""
    monkeypatch.delenv(servers.FOLDERS_VARIABLE)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    secret = tmp_path / "home" / "credentials"
    secret.parent.mkdir()
    secret.write_text("a-secret")
    model = tmp_path / "models" / "m"
    (model / "code").mkdir(parents=True)
    (model / "code" / "inference.py").write_text(ATTEMPTS + INFERENCE)
    with asked(secret) as about:
        (model / "weights.json").write_text(json.dumps(about))
        copy = ModelServer(model, {}, tmp_path / "log")
        try:
            copy.wait_ready(600)
            status, _, answer = copy.request("POST", "/invocations", b"{}", {})
        finally:
            copy.stop()
    assert status == 200 and secret.read_text() == "a-secret"
    answered: dict[str, object] = json.loads(answer)
    return answered


def test_code_of_a_model_reads_and_writes_its_own_files_only(findings: dict[str, object]) -> None:
    if not confined.measures()["files"]:
        assert sys.platform != "linux" or not os.path.exists("/sys/kernel/security/landlock")
        return
    for name in ("secret", "listing", "write", "own", "escape", "environ", "starter"):
        assert findings[name] == "PermissionError", (name, findings)
    assert findings["child"] == "CalledProcessError"
    assert findings["scratch"] == "1"


def test_code_of_a_model_reaches_no_network(findings: dict[str, object]) -> None:
    measures = confined.measures()
    if measures["network"] or measures["files"]:
        for name in ("network", "cloud"):
            assert findings[name] in ("OSError", "PermissionError", "ConnectionRefusedError"), findings


def test_code_of_a_model_gets_no_more_memory_than_leaves_the_cloud_alive(findings: dict[str, object]) -> None:
    if sys.platform != "linux":
        return
    assert findings["first_to_end"] == "'1000'"
    if not any(name.startswith("nvidia") for name in os.listdir("/dev")):
        assert findings["memory"] == "MemoryError"


@pytest.fixture(params=["an ordinary user", "who runs the tests"])
def owner(request: pytest.FixtureRequest) -> Iterator[tuple[Path, str, dict[str, Any]]]:
    """A folder, its owner, and a Python that this owner may run: nobody's, where root runs the tests."""
    nobody: dict[str, Any] = {"user": 65534, "group": 65534, "extra_groups": []}
    folder = Path(tempfile.mkdtemp())
    try:
        if os.geteuid() != 0 or request.param != "an ordinary user":
            yield folder, sys.executable, {}
        else:
            folder.chmod(0o755)
            yield folder, _python_for(nobody, _tool(folder)), nobody
    finally:
        shutil.rmtree(folder)


def _tool(folder: Path) -> Path:
    """A copy of the confining module, where everybody may read it."""
    tool = folder / "tool" / "confined.py"
    if not tool.exists():
        tool.parent.mkdir()
        shutil.copy(confined.__file__, tool)
        tool.chmod(0o644)
    return tool


def _python_for(user: dict[str, Any], tool: Path) -> str:
    for python in (sys.executable, "/usr/bin/python3", "/usr/local/bin/python3"):
        try:
            subprocess.run([python, "-P", str(tool), "--try"], check=True, capture_output=True, **user)
        except (OSError, subprocess.CalledProcessError):
            continue
        return python
    raise AssertionError("an ordinary user of this machine cannot run any Python, 3.11 or newer")


@pytest.mark.parametrize("job", ["a model", "a job", "an isolated job"])
def test_models_and_jobs_are_confined_for_ordinary_users_and_for_root(
    owner: tuple[Path, str, dict[str, Any]], job: str
) -> None:
    folder, python, user = owner
    tool = _tool(folder)
    (folder / "own").mkdir()
    (folder / "scratch").mkdir()
    (folder / "secret").write_text("a-secret")
    program = folder / "own" / "program.py"
    program.write_text(
        f"{ATTEMPTS}\nprint(json.dumps(attempts(json.loads(sys.argv[1]), {str(folder / 'own')!r})))"
    )
    for path in (*folder.glob("[!t]*"), program):
        os.chown(path, user.get("user", -1), user.get("group", -1))
    with asked(folder / "secret") as about:
        port = {"a job": str(about["cloud"]), "an isolated job": "0"}.get(job)
        usable = "own" if port else "scratch"
        words = [*(["--job", port] if port else []), str(folder / "own"), str(folder / usable), "--"]
        scratch = {"HOME": str(folder / usable), "TMPDIR": str(folder / usable)}
        done = subprocess.run(
            [python, "-P", str(tool), *words, python, str(program), json.dumps(about)],
            capture_output=True, text=True, check=False, env=scratch, **user,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    answers = json.loads(done.stdout)
    if not confined.measures()["files"]:
        return
    for name in ("secret", "listing", "write", "escape", "environ", "starter"):
        assert answers[name] == "PermissionError", (name, answers)
    assert answers["own"] == ("PermissionError" if job == "a model" else "1"), answers
    assert answers["cloud"] == "None" if job == "a job" else answers["cloud"] != "None", answers
    assert answers["network"] in ("OSError", "PermissionError", "ConnectionRefusedError"), answers
    assert answers["listen"] == "PermissionError", answers
    assert answers["lock"] == ("PermissionError" if job == "a model" else "True"), answers
    assert answers["first_to_end"] == "'1000'", answers


def test_code_of_a_model_is_given_no_credentials_and_nothing_of_the_clouds(
    findings: dict[str, object],
) -> None:
    variables = findings["variables"]
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
    assert findings["core"] == 0


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
    copy = ModelServer(model, {}, tmp_path / "log")
    try:
        copy.wait_ready(600)
        assert not psutil.Process(copy.process.pid).net_connections("inet")
    finally:
        copy.stop()
    assert tempfile.gettempdir() in os.environ[servers.FOLDERS_VARIABLE]


class Packed:
    """S3, as one archive of a job's program; stored objects are thrown away."""

    def __init__(self, archive: Path) -> None:
        self._archive = archive

    def fetch(self, uri: str, path: Path) -> None:
        shutil.copy(self._archive, path)

    def fetch_prefix(self, uri: str, folder: Path, may_be_empty: bool = False) -> None:
        raise AssertionError("the job has no channels")

    def store(self, path: Path, uri: str) -> None:
        assert path.exists()

    def remove(self, uri: str) -> None:
        raise AssertionError("the job has no checkpoints")


class Silent:
    """Takes a job's log and sends it nowhere: there is no cloud here to answer."""

    def __init__(self, *_: object) -> None:
        pass

    def send(self, last: bool = False) -> None:
        pass


def test_a_training_jobs_program_uses_its_own_folder_and_the_cloud_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(servers.FOLDERS_VARIABLE)
    monkeypatch.setattr(training, "JobLog", Silent)
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "credentials").write_text("a-secret")
    with asked(tmp_path / "home" / "credentials") as about:
        program = f"{ATTEMPTS}\nresult = attempts({about!r}, os.environ['SM_MODEL_DIR'])\n"
        program += "print(json.dumps(result))\nopen(os.environ['SM_MODEL_DIR'] + '/result.json', 'w').write(json.dumps(result))\n"
        (tmp_path / "program.py").write_text(program)
        with tarfile.open(tmp_path / "sourcedir.tar.gz", "w:gz") as archive:
            archive.add(tmp_path / "program.py", "program.py")
        place = Packed(tmp_path / "sourcedir.tar.gz")
        job = {
            "TrainingJobName": "job-1",
            "TrainingJobArn": "arn:aws:sagemaker:us-east-1:1:training-job/job-1",
            "HyperParameters": {
                "sagemaker_program": "program.py",
                "sagemaker_submit_directory": "s3://b/sourcedir.tar.gz",
            },
            "OutputDataConfig": {"S3OutputPath": "s3://b/out"},
            "AlgorithmSpecification": {},
        }
        environment = {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{about['cloud']}"}
        ended = training.run(job, tmp_path / "job", place, environment, 600, lambda process: None)
    assert ended["TrainingJobStatus"] == "Completed"
    answers = json.loads((tmp_path / "job" / "model" / "result.json").read_text())
    assert answers["own"] == answers["scratch"] == "1" and answers["cloud"] == "None", answers
    if confined.measures()["files"]:
        for name in ("secret", "listing", "write", "escape", "environ", "starter"):
            assert answers[name] == "PermissionError", (name, answers)
        assert answers["network"] == answers["listen"] == "PermissionError", answers
