"""Compressed texts as streams of bounded pieces: gzip, bzip2 and xz, of one stream or many.

Text may stand before, between and behind the streams. A damaged stream is read up to the damage, which is
reported.
"""

import bz2
import lzma
import re
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from functions.domain.errors import InputError

XZ_MEMORY_BYTES = 96 * 1024 * 1024
"""For the dictionary of `xz -9`, which is 64 MiB; larger ones are of other options."""


class _Stream(Protocol):
    """A decompressor of one stream, as bz2 and lzma have it."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int = ..., /) -> bytes: ...


class _Gzip:
    """zlib's decompressor with the interface of the others."""

    def __init__(self) -> None:
        self._zlib = zlib.decompressobj(wbits=31)
        self._rest = b""
        self._full = False

    @property
    def eof(self) -> bool:
        return self._zlib.eof

    @property
    def needs_input(self) -> bool:
        return not self._rest and not self._full

    @property
    def unused_data(self) -> bytes:
        return self._zlib.unused_data

    def decompress(self, data: bytes, max_length: int = -1, /) -> bytes:
        piece = self._zlib.decompress(self._rest + data, max(max_length, 0))
        self._rest = self._zlib.unconsumed_tail
        self._full = len(piece) == max_length  # more may be there that needs no more input
        return piece


_STREAMS: tuple[tuple[bytes, str, Callable[[], _Stream]], ...] = (
    (b"\x1f\x8b", "gzip", _Gzip),
    (b"BZh", "bzip2", bz2.BZ2Decompressor),
    (b"\xfd7zXZ\0", "xz", lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=XZ_MEMORY_BYTES)),
)
_MAX_MAGIC_BYTES = 6
_INSIDE = re.compile(rb"[\r\n]\x1f\x8b\x08")


class Damage(Exception):
    """Packed data ends too early or does not decompress; the message says where."""


def inflated(chunks: Iterable[bytes], window: int) -> Iterator[bytes]:
    """Yield the content of compressed streams in turn, and text between and behind them as it is.

    Raises Damage after the last good piece.
    """
    source = Chunks(chunks)
    size, behind_stream = 0, False
    while head := source.peek(_MAX_MAGIC_BYTES):
        if behind_stream and head.startswith(b"\0"):
            source.skip(len(head) - len(head.lstrip(b"\0")))  # tapes pad with zeros
            continue
        kind = next((kind for kind in _STREAMS if head.startswith(kind[0])), None)
        if kind is None:
            if behind_stream and head[:1] not in (b">", b";", b"\n", b"\r", b"\xef"):
                raise Damage(f"the compressed stream is damaged after {size:,} bytes of text")
            for piece in source.until(_INSIDE, window):
                size += len(piece)
                yield piece
            behind_stream = False
            continue
        behind_stream = True
        for piece in _one_stream(source, kind[1], kind[2](), window, size):
            size += len(piece)
            yield piece


def _one_stream(source: "Chunks", name: str, stream: _Stream, window: int, size: int) -> Iterator[bytes]:
    while not stream.eof:
        chunk = source.next(window) if stream.needs_input else b""  # a failed read is no damage
        if stream.needs_input and not chunk:
            raise Damage(f"the {name} stream is cut off after {size:,} bytes of text")
        try:
            piece = stream.decompress(chunk, window)
        except (zlib.error, OSError, EOFError, lzma.LZMAError) as error:
            if "Memory usage limit" in str(error):
                raise InputError(
                    f"{name} data that needs more memory; compress it with -9 or less"
                ) from error
            raise Damage(f"the {name} stream is damaged after {size:,} bytes of text") from error
        if piece:
            size += len(piece)
            yield piece
    source.give_back(stream.unused_data)


class Chunks:
    """Chunks of bytes that can be looked at before they are taken."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._kept = b""

    def peek(self, size: int) -> bytes:
        while len(self._kept) < size and (chunk := next(self._chunks, None)) is not None:
            self._kept += chunk
        return self._kept[:size]

    def skip(self, size: int) -> None:
        self._kept = self._kept[size:]

    def give_back(self, data: bytes) -> None:
        self._kept = data + self._kept

    def next(self, most: int) -> bytes:
        self.peek(1)
        piece, self._kept = self._kept[:most], self._kept[most:]
        return piece

    def exactly(self, size: int) -> bytes:
        """Take so many bytes; fewer where the data ends."""
        data = self.peek(size)
        self.skip(len(data))
        return data

    def until(self, pattern: re.Pattern[bytes], most: int) -> Iterator[bytes]:
        """Take the bytes up to the first byte of the next match, and that byte."""
        while piece := self.peek(most):
            match = pattern.search(piece)
            if match:
                self.skip(match.start() + 1)
                yield piece[: match.start() + 1]
                return
            # bytes that may begin a match stay, unless the data ends
            keep = 3 if len(piece) == most else 0
            self.skip(len(piece) - keep)
            yield piece[: len(piece) - keep]
