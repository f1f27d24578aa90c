"""The network answers from its tokens alone, loads its saved weights, and freezes the layers asked for."""

from __future__ import annotations

from pathlib import Path
from unittest.mock import patch

import pytest
import torch
from transformers import BertConfig, BertForMaskedLM

from model.serving.classifier import ProteinClassifier, build_small, load_pretrained, small_config
from model.serving.convolutions import convolve
from model.serving.heads import ConvolutionAttentionHead, HeadSettings
from model.serving.tokens import PROTEIN_VOCABULARY, ResidueTokenizer
from tests.model.tiny import HEAD, random_sequences

TOKENIZER = ResidueTokenizer(PROTEIN_VOCABULARY)


def logits(classifier: ProteinClassifier, sequences: list[str]) -> torch.Tensor:
    """All logits (sequences, locations + 1)."""
    ids, mask = TOKENIZER.pad([TOKENIZER.encode(sequence) for sequence in sequences], 402)
    with torch.inference_mode():
        locations, membrane = classifier.eval()(torch.from_numpy(ids), torch.from_numpy(mask))
    return torch.cat([locations, membrane[:, None]], dim=1)


def small(head: HeadSettings = HEAD, layers: int = 2) -> ProteinClassifier:
    torch.manual_seed(0)
    classifier = build_small(small_config(32, layers, 400), 10, head)
    # Padding must not be told from its position, so positions have to say something.
    torch.nn.init.normal_(classifier.encoder.embeddings.position_embeddings.weight)
    return classifier


@pytest.mark.parametrize("kind", ["convolution-attention", "linear"])
def test_padding_changes_no_answer(kind: str) -> None:
    classifier = small(HeadSettings(kind=kind, kernel_sizes=(3, 9), channels=8, attentions=2, hidden=8))
    sequences = random_sequences([1, 4, 40, 390])
    together = logits(classifier, sequences)
    alone = torch.cat([logits(classifier, [sequence]) for sequence in sequences])
    assert together.shape == (4, 11)
    assert torch.allclose(together, alone, atol=2e-6)
    assert together.std(dim=0).min() > 1e-4  # and the answers are not all the same


def test_what_was_saved_is_loaded(tmp_path: Path) -> None:
    classifier = small()
    classifier.save(tmp_path)
    loaded = ProteinClassifier.load(tmp_path, 10, HEAD)
    sequences = random_sequences([30, 90])
    assert torch.equal(logits(loaded, sequences), logits(classifier, sequences))
    assert not loaded.training
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o644}
    assert {path.name for path in tmp_path.iterdir()} == {"config.json", "model.safetensors"}


@pytest.mark.parametrize("wrong", ["an artifact", "weights of another width", "a layer short"])
def test_an_encoder_whose_weights_do_not_fit_is_refused_by_name(wrong: str, tmp_path: Path) -> None:
    small = {"vocab_size": 30, "hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 32}
    if wrong == "an artifact":
        build_small(small_config(32, 2, 400), 10, HEAD).save(tmp_path)
    else:
        BertForMaskedLM(BertConfig(num_hidden_layers=2, **small)).save_pretrained(tmp_path)
        change = (
            {"intermediate_size": 64} if wrong == "weights of another width" else {"num_hidden_layers": 3}
        )
        BertConfig(**{"num_hidden_layers": 2} | small | change).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"missing or of another shape: .*(layer|embeddings)"):
        load_pretrained(tmp_path, 10, HEAD)


def test_a_pretrained_bert_is_read_from_its_folder(tmp_path: Path) -> None:
    config = BertConfig(
        vocab_size=30,
        hidden_size=32,
        num_hidden_layers=3,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=512,
    )
    torch.manual_seed(0)
    pretrained = BertForMaskedLM(config).eval()
    pretrained.save_pretrained(tmp_path)  # its weights are named bert.*, beside a head that is not ours
    classifier = load_pretrained(tmp_path, 10, HEAD).eval()
    ids, _ = TOKENIZER.pad([TOKENIZER.encode("MKVLAAG")], 512)
    with torch.inference_mode():
        expected = pretrained.bert(torch.from_numpy(ids)).last_hidden_state
        states = classifier.encoder(torch.from_numpy(ids)).last_hidden_state
    assert torch.allclose(states, expected, atol=1e-6)
    assert classifier.config.num_hidden_layers == 3 and classifier.stem is None
    classifier.save(tmp_path / "saved")
    again = ProteinClassifier.load(tmp_path / "saved", 10, HEAD)
    assert torch.equal(logits(again, ["MKV"]), logits(classifier, ["MKV"]))


def moving(classifier: ProteinClassifier) -> set[str]:
    """The parts that training moves: embeddings, layer numbers, head."""
    parts = set()
    for name, value in classifier.named_parameters():
        if value.requires_grad:
            words = name.split(".")
            parts.add(words[3] if words[1] == "encoder" else words[1] if words[0] == "encoder" else words[0])
    return parts


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        (0, {"embeddings", "0", "1", "stem", "head"}),
        (1, {"1", "head"}),
        ("all", {"head"}),
    ],
)
def test_freezing_layers_freezes_the_embeddings_below_them(layers: int | str, expected: set[str]) -> None:
    classifier = small()
    classifier.freeze(layers)
    assert moving(classifier) == expected


@pytest.mark.parametrize("layers", [-1, 3, "some"])
def test_freezing_what_is_not_there_is_an_error(layers: int | str) -> None:
    with pytest.raises(ValueError, match="'all', 'pooling' or 0 to 2 frozen layers"):
        small().freeze(layers)


def test_an_unknown_head_is_an_error() -> None:
    with pytest.raises(ValueError, match="convolution-attention or linear, found 'cubic'"):
        HeadSettings(kind="cubic")
    with pytest.raises(ValueError, match="odd kernel sizes"):
        HeadSettings(kernel_sizes=(4,))


ENDS = HeadSettings(
    kernel_sizes=(3, 9), channels=8, attentions=2, hidden=8, n_terminal=(4, 12, 40), c_terminal=(5, 20)
)


def test_padding_changes_no_answer_where_the_ends_are_pooled_on_their_own() -> None:
    classifier = small(ENDS)
    # Shorter than the first segment, ending inside one, and longer than all of them.
    sequences = random_sequences([1, 2, 11, 21, 40, 390])
    together = logits(classifier, sequences)
    alone = torch.cat([logits(classifier, [sequence]) for sequence in sequences])
    assert torch.allclose(together, alone, atol=2e-6)
    assert together.std(dim=0).min() > 1e-4


def test_a_segment_is_pooled_from_its_own_tokens_alone() -> None:
    head = HeadSettings(
        kernel_sizes=(1,), channels=3, attentions=1, hidden=4, n_terminal=(2, 4), c_terminal=(3,)
    )
    torch.manual_seed(0)
    built = ConvolutionAttentionHead(5, 10, head).eval()
    hidden = torch.randn(2, 8, 5)
    mask = torch.tensor([[1] * 8, [1, 1, 1] + [0] * 5])
    hidden = hidden * mask[..., None]
    pooled: list[torch.Tensor] = []
    built.answer[0].register_forward_hook(lambda module, inputs, output: pooled.append(inputs[0]))
    built(hidden, mask)
    values = convolve(built.motifs[0], hidden).relu() * mask[..., None]
    # One attention, the whole, two segments at the start, one at the end: maximum and mean of 3 features.
    segments = pooled[0][:, 3:].reshape(2, 4, 2, 3)
    for row, tokens in ((0, 8), (1, 3)):
        segment = values[row, :tokens]
        for place, part in enumerate((segment, segment[:2], segment[2:4], segment.flip(0)[:3])):
            assert torch.allclose(segments[row, place, 0], part.amax(0))
            assert torch.allclose(segments[row, place, 1], part.mean(0))


def test_a_convolution_over_tokens_is_the_convolution_torch_computes() -> None:
    torch.manual_seed(0)
    layer = torch.nn.Conv1d(6, 4, 5, padding=2)
    hidden = torch.randn(3, 17, 6)
    expected = layer(hidden.transpose(1, 2)).transpose(1, 2)
    assert torch.allclose(convolve(layer, hidden), expected, atol=1e-6)


@pytest.mark.parametrize("bounds", [(4, 2), (3, 3), (0, 5)])
def test_segments_that_do_not_follow_each_other_are_refused(bounds: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="rising order"):
        HeadSettings(n_terminal=bounds)


def test_every_implementation_of_attention_leaves_padding_out() -> None:
    sequences = random_sequences([3, 40, 200])
    outputs = []
    for implementation in ("sdpa", "eager"):
        classifier = small()
        classifier.encoder.set_attn_implementation(implementation)
        outputs.append(logits(classifier, sequences))
    assert torch.allclose(outputs[0], outputs[1], atol=2e-6)


def test_a_stem_is_looked_up_as_it_would_be_computed() -> None:
    """At both ends of a protein, beside padding, and for every token; nothing of it is saved."""
    torch.manual_seed(1)
    classifier = ProteinClassifier(small_config(32, 0, 400), 10, HEAD)
    torch.nn.init.normal_(classifier.encoder.embeddings.word_embeddings.weight)
    sequences = [*random_sequences([1, 3, 8, 9, 60, 390]), "UZOBJX" * 9]
    saved = set(classifier.state_dict())
    computed = logits(classifier, sequences)
    classifier.tabulate()
    with patch.object(torch.nn.functional, "conv2d", wraps=torch.nn.functional.conv2d) as convolutions:
        looked_up = logits(classifier, sequences)
    assert torch.allclose(looked_up, computed, atol=1e-6)
    assert not torch.equal(looked_up, torch.zeros_like(looked_up))
    assert set(classifier.state_dict()) == saved
    assert convolutions.call_count == len(HEAD.kernel_sizes) + 1  # the head's, and its score
