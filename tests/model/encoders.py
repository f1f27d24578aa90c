"""Tiny random encoders of every family, with their tokenizers' files as the hub has them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import torch
from transformers import EsmcConfig, EsmcModel, EsmConfig, EsmModel, T5Config, T5EncoderModel

from tests.model.runs import write_encoder

# Of facebook/esm2_t6_8M_UR50D and of biohub/ESMC-300M-hf, and of Rostlab/prot_t5_xl_half_uniref50-enc.
ESM = ["<cls>", "<pad>", "<eos>", "<unk>", *"LAGVSERTID", *"PKQNFYMHWCXBUZO", ".", "-", "<null_1>", "<mask>"]
ESMC = [*ESM[:-2], "|", "<mask>"]
T5 = ["<pad>", "</s>", "<unk>", *(f"\u2581{letter}" for letter in (*"ALGVSREDTIPK", *"FQNYMHWCXBOUZ"))]


def write_bert(folder: Path) -> Path:
    return write_encoder(folder, dropout=0.0)


def write_esm(folder: Path, positions: str = "rotary") -> Path:
    config = EsmConfig(
        vocab_size=33,
        mask_token_id=32,
        pad_token_id=1,
        hidden_size=32,
        num_hidden_layers=3,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=66,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        initializer_range=0.2,
        position_embedding_type=positions,
        token_dropout=True,
        emb_layer_norm_before=False,
    )
    EsmModel(config, add_pooling_layer=False).save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(ESM))
    return folder


def write_esm1(folder: Path) -> Path:
    return write_esm(folder, "absolute")


def write_esmc(folder: Path) -> Path:
    config = EsmcConfig(
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=3,
        num_attention_heads=2,
        max_position_embeddings=66,
        initializer_range=0.2,
    )
    EsmcModel(config).save_pretrained(folder)
    added = [{"id": index, "content": token} for index, token in enumerate(ESMC) if token.startswith("<")]
    vocabulary = {token: index for index, token in enumerate(ESMC) if not token.startswith("<")}
    tokenizer = {"model": {"type": "BPE", "vocab": vocabulary}, "added_tokens": added}
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    return folder


def write_t5(folder: Path) -> Path:
    config = T5Config(
        vocab_size=128,
        d_model=32,
        d_kv=16,
        d_ff=32,
        num_layers=3,
        num_heads=2,
        dropout_rate=0.0,
        feed_forward_proj="gated-gelu",
    )
    T5EncoderModel(config).half().save_pretrained(folder)  # as the hub has ProtT5's encoder
    pieces = [*T5, *(f"<extra_id_{number}>" for number in range(99, -1, -1))]
    (folder / "spiece.model").write_bytes(
        b"".join(_field(1, _piece(piece)) for piece in pieces) + _field(2, b"")
    )
    return folder


def _piece(text: str) -> bytes:
    """A SentencePiece message: the piece, its score, its type."""
    return _field(1, text.encode()) + b"\x15\x00\x00\x80\xbf" + b"\x18\x04"


def _field(number: int, content: bytes) -> bytes:
    assert len(content) < 128
    return bytes([number << 3 | 2, len(content)]) + content


WRITERS: dict[str, Callable[[Path], Path]] = {
    "bert": write_bert,
    "esm": write_esm,
    "esm1": write_esm1,
    "esmc": write_esmc,
    "t5": write_t5,
}


def write_family(name: str, folder: Path) -> Path:
    """Write a tiny encoder; the same every time."""
    torch.manual_seed(0)
    return WRITERS[name](folder)
