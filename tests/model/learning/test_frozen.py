"""The part of a network that stands still drops nothing out, and the rest is trained above it."""

from __future__ import annotations

from pathlib import Path

import torch

from model.learning.frozen import Upper, begin_training, lower, still_part
from model.proteins.labelled import LOCATIONS
from model.serving.classifier import POOLING, ProteinClassifier, load_pretrained, small_config
from model.serving.heads import HeadSettings
from tests.model.runs import write_encoder
from tests.model.tiny import HEAD


def test_frozen_layers_drop_nothing_out_and_the_same_network_stands_above_them(tmp_path: Path) -> None:
    folder = write_encoder(tmp_path / "encoder", dropout=0.5)
    classifier = load_pretrained(folder, len(LOCATIONS), HeadSettings(dropout=0.0))
    assert still_part(classifier) is None
    classifier.freeze(2)
    assert still_part(classifier) == 2
    ids, mask = torch.randint(5, 25, (3, 12)), torch.ones(3, 12, dtype=torch.int64)
    mask[1, 7:] = 0
    begin_training(classifier)
    hidden = lower(classifier, 2, ids, mask)
    assert torch.equal(hidden, lower(classifier, 2, ids, mask))
    torch.manual_seed(1)
    locations, _ = Upper(classifier, 2)(hidden, mask)
    torch.manual_seed(2)
    assert not torch.equal(locations, Upper(classifier, 2)(hidden, mask)[0]), "the layers above still do"
    classifier.eval()
    expected = classifier(ids, mask)
    outputs = Upper(classifier, 2)(lower(classifier, 2, ids, mask), mask)
    assert torch.allclose(expected[0], outputs[0], atol=1e-6) and torch.allclose(
        expected[1], outputs[1], atol=1e-6
    )


def test_pooling_holds_all_but_the_last_layers_still() -> None:
    for layers in (0, 1):
        network = ProteinClassifier(small_config(32, layers, 64), 10, HeadSettings(**HEAD.describe()))
        network.freeze("all")
        assert still_part(network) == layers
        network.freeze(POOLING)
        assert still_part(network) == POOLING
        assert {name for name, value in network.named_parameters() if value.requires_grad} == {
            name for name, _ in network.named_parameters() if name.startswith("head.answer.")
        }
