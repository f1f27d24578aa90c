"""Answers to validation proteins: figures and calibration, and logits that do not depend on packs."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from model.learning.distribution import Processes
from model.learning.tokens import Tokens
from model.learning.validation import judge, predict, report
from model.proteins.labelled import LOCATIONS, LabelledProtein
from model.serving.classifier import build_small, small_config
from model.serving.tokens import PROTEIN_VOCABULARY, ResidueTokenizer
from tests.model.learning.answers import sure
from tests.model.tiny import HEAD

ALONE = Processes(0, 1, torch.device("cpu"))


def test_an_epochs_figures_are_those_of_calibrated_answers(proteins: list[LabelledProtein]) -> None:
    metrics = report(sure(proteins), proteins)
    assert metrics["q10"] == metrics["macro_f1"] == metrics["membrane_q2"] == 1.0
    assert metrics["split"] == "validation" and metrics["loss"] < 0.1
    calibration, figures = judge(sure(proteins), proteins)
    assert figures["q10"] == 1.0 and calibration["method"] == "temperature"


def test_a_protein_gets_the_same_logits_however_many_are_looked_at_at_once(
    proteins: list[LabelledProtein],
) -> None:
    classifier, batch_sizes = build_small(small_config(32, 1, 64), len(LOCATIONS), HEAD), list[int]()

    class Counting(nn.Module):
        def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> Any:
            batch_sizes.append(len(ids))
            return classifier(ids, mask)

    tokenizer = ResidueTokenizer(PROTEIN_VOCABULARY)
    tokens = Tokens([tokenizer.encode(each.sequence) for each in proteins], tokenizer, 66)
    wide = predict(ALONE, classifier, Counting(), tokens, 4096, "fp32")
    assert max(batch_sizes) > 4
    batch_sizes.clear()
    narrow = predict(ALONE, classifier, Counting(), tokens, 4096, "fp32", 4)
    assert max(batch_sizes) == 4 and sum(batch_sizes) == len(proteins)
    assert np.allclose(wide[0], narrow[0], atol=1e-5) and np.allclose(wide[1], narrow[1], atol=1e-5)
