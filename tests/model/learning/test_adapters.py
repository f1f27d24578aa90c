"""Adapters are trained beside the attention and saved as part of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from transformers import BertModel

from model import train
from model.learning.adapters import add_adapters, merged
from model.proteins.labelled import LOCATIONS
from model.serving.artifact import read_artifact
from model.serving.classifier import load_pretrained
from model.serving.families import FAMILIES
from model.serving.heads import HeadSettings
from model.serving.inference import model_fn, predict_fn
from tests.model.runs import plain, weights, write_channels, write_encoder


def test_a_run_with_adapters_leaves_an_ordinary_encoder_whose_attention_has_learned(tmp_path: Path) -> None:
    channels, encoder = write_channels(tmp_path / "ml"), write_encoder(tmp_path / "encoder")
    folder = tmp_path / "kept"
    settings = ("--lora-rank", 2, "--frozen-layers", 1, "--epochs", 2, "--checkpoint-dir", folder)
    train.main(plain(channels, tmp_path / "out", "--encoder", encoder, *settings, "--learning-rate", "0.01"))
    before, after = load_file(encoder / "model.safetensors"), weights(tmp_path / "out")
    changed = {
        name
        for name, value in before.items()
        if not np.array_equal(value, after.get(f"encoder.{name}", value))
    }
    assert changed == {
        f"encoder.layer.{layer}.{name}.weight" for layer in (1, 2) for name in FAMILIES["bert"].adapted
    }
    assert all("lora" not in name for name in after)
    assert "probabilities" in predict_fn(["MKV"], model_fn(str(tmp_path / "out")))["predictions"][0]
    assert read_artifact(tmp_path / "out").training["lora_rank"] == 2
    # Adapters alone are kept in the checkpoints, and the same artifact is made of them again.
    (tmp_path / "out" / "model.safetensors").unlink()
    train.main(plain(channels, tmp_path / "out", "--encoder", encoder, *settings, "--learning-rate", "0.01"))
    again = weights(tmp_path / "out")
    assert all(np.array_equal(after[name], again[name]) for name in after)


def test_merged_adapters_answer_as_they_did_beside_the_weights_and_come_off_again(tmp_path: Path) -> None:
    classifier = load_pretrained(write_encoder(tmp_path), len(LOCATIONS), HeadSettings()).eval()
    names = set(classifier.state_dict())
    add_adapters(classifier, 4, 1)
    with torch.no_grad():
        for name, value in classifier.named_parameters():
            if "lora_B" in name:
                value.normal_(0, 0.3)
    ids, mask = torch.randint(5, 25, (2, 9)), torch.ones(2, 9, dtype=torch.int64)
    beside = classifier(ids, mask)[0]
    adapted = {name: value.clone() for name, value in classifier.state_dict().items()}
    with merged(classifier):
        assert set(classifier.state_dict()) == names
        assert torch.allclose(classifier(ids, mask)[0], beside, atol=1e-5)
    after = classifier.state_dict()
    assert all(torch.equal(adapted[name], after[name]) for name in adapted)


def test_adapters_need_layers_that_move(tmp_path: Path) -> None:
    classifier = load_pretrained(write_encoder(tmp_path), len(LOCATIONS), HeadSettings())
    with pytest.raises(ValueError, match="found 3 of 3 frozen"):
        add_adapters(classifier, 4, 3)


def test_adapters_are_written_by_themselves_as_peft_reads_them(tmp_path: Path) -> None:
    from peft import PeftModel

    channels, encoder = write_channels(tmp_path / "ml"), write_encoder(tmp_path / "encoder", dropout=0.0)
    settings = ("--lora-rank", 2, "--epochs", 1, "--output-data-dir", tmp_path / "output")
    train.main(plain(channels, tmp_path / "out", "--encoder", encoder, *settings, "--learning-rate", "0.01"))
    adapter = tmp_path / "output" / "adapter"
    assert {path.name for path in adapter.iterdir()} == {
        "adapter_config.json",
        "adapter_model.safetensors",
        "head.safetensors",
    }
    bare = BertModel.from_pretrained(encoder, add_pooling_layer=False)
    adapted = PeftModel.from_pretrained(bare, adapter).eval().merge_and_unload()
    artifact = weights(tmp_path / "out")
    for name, value in adapted.state_dict().items():
        assert np.allclose(value.numpy(), artifact[f"encoder.{name}"], atol=1e-6), name
    head = load_file(adapter / "head.safetensors")
    assert all(np.array_equal(value, artifact[f"head.{name}"]) for name, value in head.items())
