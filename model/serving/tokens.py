"""Sequences to token ids: the one way in, for training and for serving alike.

Guarantees the very ids that the encoder's own tokenizer in transformers gives (BERT's and T5's for the
sequence with a space between its residues, ESM's for the bare one), by one table look-up instead of a
tokenizer's slow path. Needs numpy only.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

# ProtBERT's vocabulary in ProtBERT's order, so that small and large encoders share token ids.
PROTEIN_VOCABULARY = (
    *("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"),
    *"LAGVESIKRDTPNQFYMHCWXUBZO",
)
SPECIAL_TOKENS = 2  # [CLS] before the residues and [SEP] after them
# Lengths are padded to a multiple of this: convolution kernels are prepared (and remembered) per shape, and
# a few shapes that return cost far less than thousands that never do.
TOKEN_MULTIPLE = 32
# Padding, unknown, before the residues, after them, in the words of each family. T5 has none before them:
# padding stands there, which its other tokens do not see (`families.keys_seen`).
SPECIAL = (
    ("[PAD]", "[UNK]", "[CLS]", "[SEP]"),  # BERT
    ("<pad>", "<unk>", "<cls>", "<eos>"),  # ESM
    ("<pad>", "<unk>", "<pad>", "</s>"),  # T5
)
WORD = "\u2581"  # before each residue of a SentencePiece vocabulary: it begins a word
# Rare or ambiguous residues. The authors of ProtTrans map them to X; ESM has learned those it has tokens for.
READ_AS_X = "UZOBJ"

Ids = NDArray[np.int64]


class ResidueTokenizer:
    """A vocabulary as a table from byte to token id."""

    def __init__(self, vocabulary: Sequence[str]) -> None:
        """Build the table; raises ValueError when the vocabulary lacks a token that proteins need."""
        self.letters = tuple(token.removeprefix(WORD) for token in vocabulary)
        """The vocabulary, a residue's token as its letter alone."""
        position = {token: index for index, token in enumerate(self.letters)}
        special = next((each for each in SPECIAL if {*each, "X"} <= position.keys()), None)
        if special is None:
            missing = [token for token in (*SPECIAL[0], "X") if token not in position]
            raise ValueError(f"expected a protein vocabulary, found none of the tokens {', '.join(missing)}")
        self.vocabulary = tuple(vocabulary)
        self.padding, unknown, self._start, self._end = (position[token] for token in special)
        self._table = np.full(256, unknown, dtype=np.int64)
        for token, index in position.items():
            if len(token) == 1 and token.isascii():
                self._table[ord(token)] = index
        for residue in READ_AS_X:
            if special == SPECIAL[1] and residue in position:
                continue
            self._table[ord(residue)] = position["X"]

    @classmethod
    def read(cls, folder: Path) -> ResidueTokenizer:
        """The tokenizer of a model folder, from its `vocab.txt`."""
        path = folder / "vocab.txt"
        if not path.is_file():
            raise FileNotFoundError(f"expected a tokenizer's vocab.txt in {folder}, found none")
        return cls(path.read_text(encoding="utf-8").splitlines())

    def encode(self, sequence: str) -> Ids:
        """The ids (residues + 2) of a sequence: one a residue, and a token before and after them."""
        ids = np.empty(len(sequence) + SPECIAL_TOKENS, dtype=np.int64)
        ids[0], ids[-1] = self._start, self._end
        ids[1:-1] = self._table[np.frombuffer(sequence.encode("latin-1", "replace"), dtype=np.uint8)]
        return ids

    def pad(self, rows: Sequence[Ids], max_tokens: int) -> tuple[Ids, Ids]:
        """Rows of ids as one array (batch, tokens) and its mask (batch, tokens): 1 token, 0 padding.

        As long as the longest row, rounded up as far as `max_tokens` (the encoder's positions) allows.
        """
        longest = padded_length(max(len(row) for row in rows), max_tokens)
        ids = np.full((len(rows), longest), self.padding, dtype=np.int64)
        mask = np.zeros_like(ids)
        for index, row in enumerate(rows):
            ids[index, : len(row)] = row
            mask[index, : len(row)] = 1
        return ids, mask


def padded_length(longest: int, max_tokens: int) -> int:
    """The number of tokens that a batch is padded to whose longest row has `longest`: see TOKEN_MULTIPLE."""
    return max(longest, min(-(-longest // TOKEN_MULTIPLE) * TOKEN_MULTIPLE, max_tokens))


def window(sequence: str, max_residues: int) -> str:
    """The residues that are read of a sequence: all, or beyond `max_residues` both of its ends.

    Signals that sort a protein sit at its ends (signal and transit peptides at the N-terminus, KDEL and
    SKL at the C-terminus), so a long protein loses its middle. The N-terminal half gets the odd residue.
    """
    if len(sequence) <= max_residues:
        return sequence
    tail = max_residues // 2
    return sequence[: max_residues - tail] + sequence[len(sequence) - tail :]


def pack_by_length(lengths: Sequence[int] | Ids, order: Iterable[int], token_budget: int) -> list[list[int]]:
    """Cut `order` (indices, sorted by length) into packs whose padded size stays within `token_budget`.

    A protein longer than the budget is a pack of its own. Every index appears exactly once.
    """
    packs: list[list[int]] = []
    longest = 0
    for index in order:
        longest = max(longest, int(lengths[index]) + SPECIAL_TOKENS)
        if packs and (len(packs[-1]) + 1) * longest <= token_budget:
            packs[-1].append(index)
        else:
            packs.append([index])
            longest = int(lengths[index]) + SPECIAL_TOKENS
    return packs
