"""The optimizer's groups: which parameters learn at which rate, and which decay."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from model.learning.settings import Settings
from model.learning.state import parameter_groups


def test_the_encoder_learns_at_its_own_rate_and_nothing_of_one_dimension_decays() -> None:
    shapes = {
        "encoder.encoder.layer.0.output.dense.weight": (4, 4),
        "encoder.encoder.layer.0.output.dense.bias": (4,),
        "encoder.encoder.layer.0.output.LayerNorm.weight": (4,),
        "encoder.encoder.layer.0.attention.self.query.lora_A.default.weight": (2, 4),
        "others.0.encoder.embeddings.word_embeddings.weight": (30, 4),
        "head.answer.0.weight": (4, 4),
        "head.answer.0.bias": (4,),
    }
    moving = {name: torch.nn.Parameter(torch.zeros(shape)) for name, shape in shapes.items()}
    settings = Settings(Path("t"), learning_rate=1e-3, encoder_learning_rate=1e-5, weight_decay=0.1)
    from_artifact = replace(settings, start=Path("champion"))
    assert {each["weight_decay"] for each in parameter_groups(moving, from_artifact)} == {0.1}
    groups = parameter_groups(moving, settings)
    rates = {
        name: (group["rate"], group["weight_decay"])
        for group in groups
        for name, value in moving.items()
        if any(value is each for each in group["params"])
    }
    encoder, head = 1e-5, 1e-3
    assert [rates[name] for name in shapes] == [
        (encoder, 0.1),
        (encoder, 0.0),
        (encoder, 0.0),
        (head, 0.1),
        (encoder, 0.1),
        (head, 0.1),
        (head, 0.0),
    ]
