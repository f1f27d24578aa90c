"""An encoder is made ready for jobs: safe weights, looked at, and only the files that a job wants in S3."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from model import encoder
from tests.model.runs import write_encoder


@pytest.fixture
def pickled(tmp_path: Path) -> Path:
    """An encoder as the hub has ProtBERT, its masked language model's answers tied to the embeddings."""
    folder = write_encoder(tmp_path / "tiny_bert")
    weights = {f"bert.{name}": value for name, value in load_file(folder / "model.safetensors").items()}
    weights["cls.predictions.decoder.weight"] = weights["bert.embeddings.word_embeddings.weight"]
    torch.save(weights, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    (folder / "flax_model.msgpack").write_bytes(b"0" * 100)
    return folder


def test_pickled_weights_become_safe_ones_once(pickled: Path) -> None:
    before = torch.load(pickled / "pytorch_model.bin", weights_only=True)
    assert encoder.convert(pickled) and not encoder.convert(pickled)
    after = load_file(pickled / "model.safetensors")
    assert after.keys() == before.keys() and all(torch.equal(after[name], before[name]) for name in before)


def test_a_pickle_that_runs_code_is_refused(pickled: Path) -> None:
    torch.save({"bert": nn.Linear(1, 1)}, pickled / "pytorch_model.bin")
    with pytest.raises(Exception, match=r"weights_only|Unsupported"):
        encoder.convert(pickled)
    assert not (pickled / "model.safetensors").exists()


def test_only_what_a_job_wants_is_uploaded(pickled: Path, bucket: Any) -> None:
    address = encoder.prepare(pickled, None, "s3://models/own/tiny/")
    assert address == "s3://models/own/tiny/"
    keys = [each["Key"] for each in bucket.list_objects_v2(Bucket="models")["Contents"]]
    assert keys == [f"own/tiny/{name}" for name in ("config.json", "model.safetensors", "vocab.txt")]


def test_what_could_not_be_trained_is_refused_before_the_upload(pickled: Path, bucket: Any) -> None:
    weights = torch.load(pickled / "pytorch_model.bin", weights_only=True)
    del weights["bert.encoder.layer.1.output.dense.weight"]
    torch.save(weights, pickled / "pytorch_model.bin")
    with pytest.raises(SystemExit, match=r"found 1 missing .* encoder\.layer\.1\.output\.dense\.weight"):
        encoder.main([str(pickled), "--to", "s3://models/own"])
    assert "Contents" not in bucket.list_objects_v2(Bucket="models")
