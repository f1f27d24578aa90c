"""The text of an upload: unpacked where the file is packed, and bounded in any case."""

from collections.abc import Iterable, Iterator

from functions.domain.archives import Members, Seekable, is_tar, is_zip
from functions.domain.errors import InputError
from functions.domain.unpack import Damage, inflated

WINDOW_BYTES = 1024 * 1024
"""Of a file that are in memory at a time."""

TELLING_BYTES = 512
"""The bytes that tell an archive from a text: a tar's mark is in its first block."""

MAX_TEXT_BYTES = 5 * 1024**3
"""Longest text of an upload, plain or decompressed: what one function can decompress, and one can merge the
results of, within Lambda's 900 seconds."""


def require_size(size: int, size_words: str, stack_most: int | None) -> None:
    """Raise InputError where a text of this many bytes is too long for one upload, or one of this stack."""
    most = MAX_TEXT_BYTES if stack_most is None else min(stack_most, MAX_TEXT_BYTES)
    if size > most:
        raise InputError(
            f"{size_words}; send it in parts", expected=f"at most {most:,} bytes of text in an upload"
        )


class Inflater:
    """Unpacks the text of a file; keeps the reason for an early stop, and the parts that it left out."""

    def __init__(self, stack_most: int | None = None) -> None:
        self.size = 0
        self.damage = ""
        self._stack_most = stack_most
        self.left_out: list[str] = []
        """Members of an archive that are no FASTA, each with the reason."""

    def text(self, chunks: Iterable[bytes], whole: Seekable | None = None) -> Iterator[bytes]:
        """Yield the text in pieces of bounded size; at the end `damage` names the fault, if there was one.

        `whole` is the same file to be read from any place, which a ZIP archive needs.
        """
        members = Members(WINDOW_BYTES)
        self.left_out = members.left_out
        pieces = inflated(chunks, WINDOW_BYTES)
        first = b""
        try:
            while len(first) < TELLING_BYTES and (more := next(pieces, b"")):
                first += more
        except Damage as damage:
            self.damage = str(damage)
        try:
            if is_zip(first) and whole is not None and is_zip(whole.head(4)):
                pieces = members.of_zip(whole, whole.size)
            elif is_tar(first):
                pieces = members.of_tar(_chained(first, pieces))
            else:
                pieces = _chained(first, pieces)
            yield from self._counted(pieces)
        except Damage as damage:
            self.damage = str(damage)

    def _counted(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        for piece in pieces:
            if piece:
                self.size += len(piece)
                require_size(self.size, "more in a compressed file", self._stack_most)
                yield piece


def _chained(first: bytes, pieces: Iterator[bytes]) -> Iterator[bytes]:
    yield from (first[at : at + WINDOW_BYTES] for at in range(0, len(first), WINDOW_BYTES))
    yield from pieces
