"""Writes an encoder's embeddings of proteins as a Parquet file: one row a record, in their order.

    python -m model.embed proteome.fasta --encoder prot_bert_bfd --output proteome.parquet
    python -m model.embed proteome.fasta --artifact build/model/mine --residues --output proteome.parquet

A protein's embedding is the mean of its residues' last hidden states, as ProtTrans's per-protein embeddings
are; `--residues` writes one for each residue that is read. Of a protein beyond `--max-residues` both ends are
read. Memory holds one pack of proteins at a time.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray

from model.learning.encoders import read_tokenizer
from model.serving.classifier import ProteinClassifier, load_pretrained
from model.serving.families import max_residues
from model.serving.hardware import has_bf16
from model.serving.heads import HeadSettings
from model.serving.loading import TOKENS_GPU, TOKENS_LARGE, load
from model.serving.tokens import ResidueTokenizer, pack_by_length, window

RECORDS_AT_ONCE = 1024  # records that are sorted by length together, and one row group of the file
Floats = NDArray[np.float32]


class SequenceProblem(ValueError):
    """A record that is no protein; names its line."""


def records(path: Path) -> Iterator[tuple[str, str]]:
    """The first word of each FASTA header, and the sequence in upper case without a terminal `*`."""
    header, line_of_header, parts = None, 0, list[str]()

    def record() -> tuple[str, str]:
        sequence = "".join(parts).upper().removesuffix("*")
        if not sequence.isascii() or not sequence.isalpha():
            raise SequenceProblem(f"{path.name} line {line_of_header}: expected residues A-Z")
        return ((header or "").split() or [""])[0], sequence

    with path.open(encoding="utf-8-sig", errors="replace") as file:
        for number, line in enumerate(file, start=1):
            if line.startswith(">"):
                if header is not None:
                    yield record()
                header, line_of_header, parts = line[1:], number, []
            elif header is not None:
                parts.append("".join(line.split()))
            elif line.strip():
                raise SequenceProblem(f"{path.name} line {number}: expected '>' to begin the first record")
    if header is not None:
        yield record()


@torch.inference_mode()
def embed(
    classifier: ProteinClassifier, tokenizer: ResidueTokenizer, sequences: Sequence[str], token_budget: int
) -> list[Floats]:
    """The last hidden states (residues, hidden) of each sequence, which its encoder reads whole."""
    device = next(classifier.head.parameters()).device
    dtype = next((value.dtype for value in classifier.encoder.parameters()), torch.float32)
    lengths = [len(sequence) for sequence in sequences]
    states: list[Floats] = [np.empty((0, 0), dtype=np.float32)] * len(sequences)
    for pack in pack_by_length(lengths, sorted(range(len(lengths)), key=lengths.__getitem__), token_budget):
        rows = [tokenizer.encode(sequences[index]) for index in pack]
        ids, mask = (torch.from_numpy(each).to(device) for each in tokenizer.pad(rows, max(map(len, rows))))
        with torch.autocast(device.type, torch.bfloat16, enabled=dtype == torch.bfloat16):
            hidden = classifier.encode(ids, mask).float().cpu().numpy()
        for row, index in enumerate(pack):
            states[index] = hidden[row, 1 : lengths[index] + 1]
    return states


def table(
    batch: Sequence[tuple[str, str]], read: Sequence[str], states: Sequence[Floats], residues: bool
) -> pa.Table:
    """A row group of the file; embeddings are in half precision, as embeddings are kept."""
    hidden = states[0].shape[1]
    vectors = states if residues else [state.mean(axis=0, keepdims=True) for state in states]
    flat = pa.FixedSizeListArray.from_arrays(
        pa.array(np.concatenate(vectors).astype(np.float16).ravel()), hidden
    )
    if residues:
        ends = np.cumsum([0, *map(len, states)]).astype(np.int32)
        flat = pa.ListArray.from_arrays(pa.array(ends), flat)
    columns = {
        "accession": [accession for accession, _ in batch],
        "length": pa.array([len(sequence) for _, sequence in batch], pa.int32()),
        "residues_read": pa.array([len(sequence) for sequence in read], pa.int32()),
        "embedding": flat,
    }
    return pa.table(columns)


def encoder_of(options: argparse.Namespace) -> tuple[ProteinClassifier, ResidueTokenizer, int]:
    """The classifier whose encoder is asked, its tokenizer, and how many residues it reads."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    dtype = torch.bfloat16 if has_bf16(device) else torch.float32
    if options.artifact is not None:
        model = load(options.artifact, device, dtype)
        return model.classifier, model.tokenizer, model.artifact.max_residues
    classifier = load_pretrained(options.encoder, 1, HeadSettings()).to(device).eval()
    classifier.encoder.to(dtype)
    return classifier, read_tokenizer(options.encoder), max_residues(classifier.config)


def main(arguments: Sequence[str] | None = None) -> None:
    """Embed every record of a FASTA file."""
    parser = argparse.ArgumentParser(description="Write an encoder's embeddings of proteins.")
    parser.add_argument("fasta", type=Path)
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--encoder", type=Path, help="folder of a pretrained encoder")
    which.add_argument("--artifact", type=Path, help="an unpacked artifact, for its fine-tuned encoder")
    parser.add_argument("--output", type=Path, required=True, help="Parquet file")
    parser.add_argument("--residues", action="store_true", help="one embedding a residue, not one a protein")
    parser.add_argument("--max-residues", type=int, default=2046, help="read of a protein")
    options = parser.parse_args(arguments)
    partial = options.output.with_name(f".{options.output.name}.partial")
    try:
        classifier, tokenizer, most = encoder_of(options)
        most = min(most, options.max_residues)
        budget = TOKENS_GPU if torch.cuda.is_available() else TOKENS_LARGE
        file, writer, count = records(options.fasta), None, 0
        while batch := list(islice(file, RECORDS_AT_ONCE)):
            read = [window(sequence, most) for _, sequence in batch]
            rows = table(batch, read, embed(classifier, tokenizer, read, budget), options.residues)
            writer = writer or pq.ParquetWriter(partial, rows.schema)
            writer.write_table(rows)
            count += len(batch)
        if writer is None:
            raise SequenceProblem(f"expected records in {options.fasta}, found none")
        writer.close()
        partial.replace(options.output)
    except (ValueError, OSError) as problem:
        partial.unlink(missing_ok=True)
        raise SystemExit(f"{Path(sys.argv[0]).name}: {problem}") from problem
    print(f"{options.output}: {count:,} proteins")


if __name__ == "__main__":
    main()
