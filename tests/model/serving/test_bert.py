"""A BERT of embeddings alone is transformers' BERT without layers, and its configuration is read by either."""

from pathlib import Path

import pytest
import torch
from transformers import BertConfig, BertModel

from model.serving.bert import BertSettings, ShallowBert
from model.serving.families import build, read_config

SMALL = {
    "vocab_size": 30, "hidden_size": 32, "num_hidden_layers": 0, "num_attention_heads": 1,
    "max_position_embeddings": 66, "initializer_range": 0.05, "hidden_dropout_prob": 0.0,
}  # fmt: skip


def test_its_defaults_are_those_of_transformers() -> None:
    theirs = BertConfig().to_dict()
    assert {name: theirs[name] for name in BertSettings.DEFAULTS} == BertSettings.DEFAULTS


def test_either_reads_the_configuration_that_the_other_wrote(tmp_path: Path) -> None:
    BertConfig(**SMALL, stem_kernel_size=9).save_pretrained(tmp_path)
    ours = BertSettings.read(tmp_path)
    assert ours.stem_kernel_size == 9
    ours.save_pretrained(tmp_path)
    assert BertSettings.read(tmp_path) == ours == read_config(tmp_path)
    theirs = BertConfig.from_pretrained(tmp_path).to_dict()
    assert theirs == BertConfig(**SMALL, stem_kernel_size=9).to_dict() | {
        "_name_or_path": theirs["_name_or_path"]
    }


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_a_seed_gives_the_weights_and_the_answers_of_transformers(dropout: float) -> None:
    settings = SMALL | {"hidden_dropout_prob": dropout}
    torch.manual_seed(7)
    ours = build(BertSettings(**settings))
    after = torch.get_rng_state()
    torch.manual_seed(7)
    theirs = BertModel(BertConfig(**settings), add_pooling_layer=False)
    assert isinstance(ours, ShallowBert) and torch.equal(torch.get_rng_state(), after)
    assert [*ours.state_dict()] == [*theirs.state_dict()]
    for name, value in theirs.state_dict().items():
        assert torch.equal(ours.state_dict()[name], value), name
    ids = torch.tensor([[2, 5, 9, 3], [2, 7, 3, 0]])
    mask = (ids != 0).long()
    for arguments in ({"input_ids": ids}, {"inputs_embeds": torch.randn(2, 4, 32)}):
        for network in (ours.train(), theirs.train()):
            torch.manual_seed(1)
            network.seen = network(**arguments, attention_mask=mask).last_hidden_state
        assert torch.equal(ours.seen, theirs.seen)


def test_a_bert_with_layers_is_that_of_transformers() -> None:
    assert isinstance(build(BertSettings(**SMALL | {"num_hidden_layers": 1})), BertModel)
