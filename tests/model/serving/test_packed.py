"""The packed encoder answers as transformers' own BERT, with any other sequences in the batch."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from transformers import BertConfig, BertModel

from model.serving import packed
from model.serving.classifier import ProteinClassifier
from model.serving.heads import HeadSettings
from model.serving.inference import predict_fn
from model.serving.loading import Model, load
from model.serving.packed import PackedEncoder, Packing, attend, through
from tests.model.tiny import build_tiny_bert_artifact, random_sequences

CPU = torch.device("cpu")


def a_bert(activation: str = "gelu") -> BertModel:
    """A BERT with random weights large enough that attention is not the same everywhere."""
    torch.manual_seed(3)
    config = BertConfig(
        vocab_size=30,
        hidden_size=64,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=96,
        max_position_embeddings=600,
        hidden_act=activation,
        initializer_range=0.2,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    return BertModel(config, add_pooling_layer=False).eval()


def pack_of(bert: BertModel, dtype: torch.dtype = torch.float32) -> PackedEncoder:
    weights = bert.state_dict()
    return PackedEncoder(bert.config, weights.__getitem__, max_tokens=600, dtype=dtype, device=CPU)


def batch(lengths: list[int], seed: int = 0) -> tuple[Tensor, Tensor]:
    """Random ids and their mask (batch, tokens)."""
    mask = torch.zeros(len(lengths), max(lengths), dtype=torch.long)
    for row, length in enumerate(lengths):
        mask[row, :length] = 1
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(5, 30, mask.shape, generator=generator) * mask, mask


@pytest.mark.parametrize("activation", ["gelu", "gelu_new", "relu", "silu"])
@torch.inference_mode()
def test_it_gives_what_bert_gives_without_the_padding(activation: str) -> None:
    bert = a_bert(activation)
    ids, mask = batch([30, 1, 300, 17])
    expected = bert(input_ids=ids, attention_mask=mask).last_hidden_state * mask[..., None]
    states = pack_of(bert)(ids, mask[:, None, None, :] != 0).last_hidden_state
    assert torch.allclose(states, expected, atol=2e-5)
    assert expected.std() > 0.5  # and there was something to give


@pytest.mark.parametrize(("dtype", "apart"), [(torch.bfloat16, 0.05), (torch.float16, 0.005)])
@torch.inference_mode()
def test_in_narrow_numbers_it_is_near_what_bert_gives(
    monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype, apart: float
) -> None:
    if dtype == torch.float16:  # of older GPUs, beside which there is no oneDNN
        monkeypatch.setattr(packed, "onednn", lambda: False)
    bert = a_bert()
    ids, mask = batch([200, 90])
    expected = bert(input_ids=ids, attention_mask=mask).last_hidden_state * mask[..., None]
    states = pack_of(bert, dtype)(ids, mask).last_hidden_state
    assert states.dtype == dtype
    assert (states - expected).square().mean().sqrt() < apart * expected.std()


@pytest.mark.parametrize("score_bytes", [1, 5_000, 100_000])
@torch.inference_mode()
def test_attention_in_blocks_is_the_attention_of_the_whole(
    monkeypatch: pytest.MonkeyPatch, score_bytes: int
) -> None:
    monkeypatch.setattr(packed, "SCORE_BYTES", score_bytes)
    torch.manual_seed(1)
    parts, packing = torch.randn(137, 3, 4, 16), Packing.of(batch([100, 1, 36])[1])
    expected = [
        torch.nn.functional.scaled_dot_product_attention(
            *part.permute(1, 2, 0, 3)[:, None].unbind(0), scale=1.0
        )[0]
        .transpose(0, 1)
        .flatten(1)
        for part in torch.split(parts, packing.lengths)
    ]
    assert torch.allclose(attend(parts, packing), torch.cat(expected), atol=1e-5)


@torch.inference_mode()
def test_without_onednn_the_answers_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    bert = a_bert()
    ids, mask = batch([30, 80])
    expected = pack_of(bert)(ids, mask).last_hidden_state
    monkeypatch.setattr(packed, "onednn", lambda: False)
    assert torch.allclose(pack_of(bert)(ids, mask).last_hidden_state, expected, atol=1e-5)


@pytest.mark.parametrize(("dtype", "fused"), [(torch.bfloat16, True), (torch.float32, False)])
@torch.inference_mode()
def test_with_amx_attention_in_bf16_is_torchs_fused_one(
    monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype, fused: bool
) -> None:
    torch.manual_seed(1)
    parts, packing = 0.5 * torch.randn(137, 3, 4, 16), Packing.of(batch([100, 1, 36])[1])
    parts = parts.to(dtype)
    monkeypatch.setattr(packed, "has_amx", lambda: False)
    expected = attend(parts, packing)
    monkeypatch.setattr(packed, "has_amx", lambda: True)
    if fused:
        monkeypatch.setattr(packed, "_attend_on_cpu", None)
    assert torch.allclose(attend(parts, packing).float(), expected.float(), atol=1e-2 if fused else 0)


@torch.inference_mode()
def test_the_gpus_attention_where_there_is_no_flash_attention_is_the_same() -> None:
    torch.manual_seed(1)
    parts, packing = torch.randn(137, 3, 4, 16), Packing.of(batch([100, 1, 36])[1])
    assert torch.allclose(packed._attend_on_gpu(parts, packing), attend(parts, packing), atol=1e-5)
    narrow = packed._attend_on_gpu(parts.half(), packing)
    assert torch.allclose(narrow.float(), attend(parts, packing), atol=1e-2)


def test_layers_that_learn_get_the_gradients_of_the_padded_ones() -> None:
    bert = a_bert().train()
    ids, mask = batch([30, 1, 70])
    weights = torch.randn(3, 70, 64) * mask[..., None]
    gradients = []
    for padded in (True, False):
        bert.zero_grad()
        hidden = bert.embeddings(input_ids=ids)
        if padded:
            for layer in bert.encoder.layer:
                hidden = layer(hidden, mask[:, None, None, :] != 0)
        else:
            hidden = through(bert.encoder.layer, hidden, mask)
        (hidden * weights).sum().backward()
        gradients.append([value.grad.clone() for value in bert.parameters() if value.grad is not None])
    assert len(gradients[0]) == len(gradients[1]) > 40
    for one, other in zip(*gradients, strict=True):
        assert (one - other).abs().max() < 1e-3 * max(1.0, float(one.abs().max()))


@settings(max_examples=30)
@given(st.lists(st.integers(1, 90), min_size=1, max_size=9))
def test_packing_and_unpacking_loses_nothing(lengths: list[int]) -> None:
    _, mask = batch(lengths)
    packing = Packing.of(mask)
    padded = torch.randn(*mask.shape, 3) * mask[..., None]
    packed_rows = packing.pack(padded)
    assert len(packed_rows) == sum(lengths) == int(packing.starts[-1])
    assert torch.equal(packing.unpack(packed_rows), padded)


@pytest.fixture(scope="module")
def berts(tmp_path_factory: pytest.TempPathFactory) -> dict[torch.dtype, Model]:
    """The same BERT-like artifact, served in both precisions."""
    folder: Path = build_tiny_bert_artifact(tmp_path_factory.mktemp("bert") / "tiny")
    return {dtype: load(folder, CPU, dtype) for dtype in (torch.float32, torch.bfloat16)}


@pytest.mark.parametrize(("dtype", "allowed"), [(torch.float32, 1e-5), (torch.bfloat16, 1e-3)])
@settings(max_examples=25)
@given(lengths=st.lists(st.integers(1, 150), min_size=1, max_size=12), seed=st.integers(0, 5))
def test_an_answer_does_not_depend_on_its_batch_or_place(
    berts: dict[torch.dtype, Model], dtype: torch.dtype, allowed: float, lengths: list[int], seed: int
) -> None:
    sequences = random_sequences(lengths, seed)
    together = predict_fn(sequences, berts[dtype])["predictions"]
    backwards = predict_fn(sequences[::-1], berts[dtype])["predictions"][::-1]
    for sequence, *answers in zip(sequences, together, backwards, strict=True):
        (alone,) = predict_fn([sequence], berts[dtype])["predictions"]
        for one in answers:
            assert one["probabilities"] == pytest.approx(alone["probabilities"], abs=allowed)
            assert one["membrane"] == pytest.approx(alone["membrane"], abs=allowed)


@pytest.mark.parametrize("members", [1, 2])
def test_a_served_bert_answers_as_the_one_that_was_trained(tmp_path: Path, members: int) -> None:
    folder = build_tiny_bert_artifact(tmp_path / "bert", members=members)
    model = load(folder, CPU, torch.float32)
    head = HeadSettings(**model.artifact.head)
    whole = ProteinClassifier.load(folder, len(model.artifact.locations), head)
    assert len(whole.members()) == members
    sequences = random_sequences([40, 300, 7])
    ids, mask = model.tokenizer.pad([model.tokenizer.encode(one) for one in sequences], 512)
    with torch.inference_mode():
        logits, _ = whole(torch.from_numpy(ids), torch.from_numpy(mask))
    expected = logits.double().softmax(1)
    answers = predict_fn(sequences, model)["predictions"]
    for row, answer in zip(expected, answers, strict=True):
        assert answer["probabilities"] == pytest.approx(row.tolist(), abs=1e-5)
    assert expected.std(dim=0).max() > 0.02  # and the sequences get different answers


def test_a_gpu_without_bf16_answers_in_fp16_alike(
    berts: dict[torch.dtype, Model], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packed, "onednn", lambda: False)
    model = load(build_tiny_bert_artifact(tmp_path / "bert"), CPU, torch.float16)
    assert model.dtype == torch.float16
    sequences = random_sequences([40, 300, 7, 120])
    answers = predict_fn(sequences, model)["predictions"]
    for one, other in zip(predict_fn(sequences, berts[torch.float32])["predictions"], answers, strict=True):
        assert one["probabilities"] == pytest.approx(other["probabilities"], abs=0.005)


def test_both_precisions_agree(berts: dict[torch.dtype, Model]) -> None:
    sequences = random_sequences([40, 300, 7, 120])
    exact, rounded = (predict_fn(sequences, model)["predictions"] for model in berts.values())
    for one, other in zip(exact, rounded, strict=True):
        assert one["probabilities"] == pytest.approx(other["probabilities"], abs=0.03)
        assert one["probabilities"] != other["probabilities"]  # so bf16 was really used
