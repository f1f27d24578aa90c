"""A cold start reads and imports the files that its path needs, and no more: counted, not timed."""

from __future__ import annotations

import gc
import gzip
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from botocore.loaders import Loader

from functions.services.clients import SERVICES, _Models, _session, client

FUNCTIONS = Path(__file__).parents[3] / "functions"
HANDLERS = sorted(path.stem for path in FUNCTIONS.glob("*.py") if "def handler(" in path.read_text())


@pytest.fixture(autouse=True)
def account(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_is_described_as_botocore_describes_it(service: str) -> None:
    """Compares the output of the loader, which clients change once they have it."""
    for kind in ("service-2", "endpoint-rule-set-1"):
        version = Loader().determine_latest_version(service, kind)
        assert _Models().determine_latest_version(service, kind) == version
        stem = Path(Loader.BUILTIN_DATA_PATH) / service / version / kind
        (path,) = stem.parent.glob(f"{kind}.json*")
        packed = path.read_bytes()
        theirs = json.loads(gzip.decompress(packed) if path.suffix == ".gz" else packed)
        assert _Models.FILE_LOADER_CLASS().load_file(str(stem)) == theirs


def test_the_services_are_those_that_the_functions_ask() -> None:
    asked = set[str]()
    for path in (FUNCTIONS / "services").glob("*.py"):
        asked |= set(re.findall(r'\b(?:Lazily|client)\(\s*"([a-z0-9-]+)"', path.read_text()))
    asked -= {"sagemaker", "application-autoscaling", "cloudwatch"}  # of `hosting`, which retire alone has
    assert asked == set(SERVICES)


def test_a_client_is_made_from_its_own_description_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """botocore lists the folders of all services first."""
    listed, list_folder = set[str](), os.listdir

    def noted(path: str) -> list[str]:
        listed.add(Path(path).name)
        return list_folder(path)

    monkeypatch.setattr("os.listdir", noted)
    monkeypatch.setattr("functions.services.clients._session", _session.__wrapped__)
    for service in SERVICES:
        assert client(service).meta.service_model.service_name == service
    assert listed == set(SERVICES)


def test_the_collector_rests_while_a_client_is_made_and_not_after(monkeypatch: pytest.MonkeyPatch) -> None:
    states = []
    read = _Models.FILE_LOADER_CLASS.load_file

    def noted(self: object, path: str) -> object:
        states.append(gc.isenabled())
        return read(self, path)  # type: ignore[arg-type]

    monkeypatch.setattr(_Models.FILE_LOADER_CLASS, "load_file", noted)
    monkeypatch.setattr("functions.services.clients._session", _session.__wrapped__)
    client("sqs")
    assert states and not any(states)
    assert gc.isenabled()


OF_QUEUES = {"receive", "split", "predict", "complete", "erase", "query"}  # powertools' batches and routes
HEAVY = {
    "aws_lambda_powertools.event_handler": {"query"},  # the only one with routes
    "aws_lambda_powertools.utilities.data_classes": OF_QUEUES,
    "asyncio": OF_QUEUES,
    "torch": set[str](),
    "numpy": set[str](),
    "pydantic": set[str](),
    "aws_xray_sdk": set[str](),
}


@pytest.mark.parametrize("handler", HANDLERS)
def test_a_handler_imports_what_its_path_needs(handler: str) -> None:
    program = f"import functions.{handler}, sys; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=FUNCTIONS.parent,
        env={**os.environ, "AWS_DEFAULT_REGION": "us-east-1"},
        check=True,
        capture_output=True,
        text=True,
    )
    heavy = {name for name, needing in HEAVY.items() if handler not in needing}
    assert heavy.intersection(done.stdout.split()) == set()
