"""Embeddings are the encoder's own, one row a record in their order, in any packing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from transformers import AutoModel

from model import embed
from tests.model.encoders import WRITERS, write_family
from tests.model.tiny import build_tiny_artifact, build_tiny_bert_artifact, random_sequences


def write_fasta(path: Path, sequences: list[str]) -> Path:
    path.write_text(
        "".join(f">P{n} described\n{sequence.lower()}*\n" for n, sequence in enumerate(sequences))
    )
    return path


@pytest.mark.parametrize("family", [name for name in WRITERS if name != "t5"])
def test_a_proteins_embedding_is_the_mean_of_its_residues_states(
    family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embed, "has_bf16", lambda device: False)
    folder = write_family(family, tmp_path / family)
    sequences = random_sequences([7, 30, 3])
    fasta = write_fasta(tmp_path / "some.fasta", sequences)
    for words in ([], ["--residues"]):
        embed.main([str(fasta), "--encoder", str(folder), "--output", str(tmp_path / "e.parquet"), *words])
        rows = pq.read_table(tmp_path / "e.parquet").to_pylist()
        assert [row["accession"] for row in rows] == ["P0", "P1", "P2"]
        assert [row["residues_read"] for row in rows] == [7, 30, 3]
        own = AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
        ids = torch.from_numpy(embed.read_tokenizer(folder).encode(sequences[1]))[None]
        with torch.inference_mode():
            states = own(ids, attention_mask=torch.ones_like(ids)).last_hidden_state[0, 1:-1].numpy()
        embedding = np.array(rows[1]["embedding"])
        assert embedding.shape == (states.shape if words else states.shape[1:])
        assert np.allclose(embedding, states if words else states.mean(axis=0), atol=2e-3)


def test_an_artifacts_own_encoder_is_asked_and_reads_both_ends(tmp_path: Path) -> None:
    fasta = write_fasta(tmp_path / "some.fasta", random_sequences([80, 12]))
    for build in (build_tiny_artifact, build_tiny_bert_artifact):
        artifact, output = build(tmp_path / build.__name__), tmp_path / f"{build.__name__}.parquet"
        words = ["--artifact", str(artifact), "--output", str(output), "--max-residues", "50"]
        embed.main([str(fasta), *words])
        rows = pq.read_table(output).to_pylist()
        assert [(row["length"], row["residues_read"]) for row in rows] == [(80, 50), (12, 12)]
        assert all(np.isfinite(row["embedding"]).all() for row in rows)


def test_what_is_no_protein_leaves_no_file(tmp_path: Path) -> None:
    encoder, output = write_family("bert", tmp_path / "bert"), tmp_path / "e.parquet"
    for content, problem in (
        ("", "expected records"),
        (">P1\nMK1V\n", "line 1: expected residues A-Z"),
        ("MKV", "line 1: expected '>'"),
    ):
        (tmp_path / "some.fasta").write_text(content)
        with pytest.raises(SystemExit, match=problem):
            embed.main([str(tmp_path / "some.fasta"), "--encoder", str(encoder), "--output", str(output)])
        assert not list(tmp_path.glob("*.parquet")) + list(tmp_path.glob(".*.partial"))
