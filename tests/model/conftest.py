"""Fixtures of the model's tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
import torch
from moto import mock_aws

from model import storage
from model.serving.inference import model_fn
from model.serving.loading import Model
from tests.model.tiny import build_tiny_artifact


@pytest.fixture(autouse=True)
def _same_draws() -> None:
    """Each test draws the same from torch, after any other tests."""
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def tiny_artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An unpacked artifact with random weights; not to be written to."""
    return build_tiny_artifact(tmp_path_factory.mktemp("artifact") / "tiny")


@pytest.fixture(scope="session")
def tiny_model(tiny_artifact: Path) -> Model:
    """The model of `tiny_artifact`, loaded as a serving container does."""
    return model_fn(str(tiny_artifact))


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """An S3 client beside a bucket `models` with versions, which `storage` uses too."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with mock_aws():
        client = boto3.client("s3")
        client.create_bucket(Bucket="models")
        client.put_bucket_versioning(Bucket="models", VersioningConfiguration={"Status": "Enabled"})
        monkeypatch.setattr(storage, "_client", lambda: client)
        yield client
