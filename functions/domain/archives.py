"""Archives, tar or ZIP, as one text: each member that is FASTA, as a stream of bounded pieces.

A member's name is put into its headers, as ` [file=NAME]`. The limits apply to the unpacked bytes, not to the
sizes that an archive claims. A damaged archive is read up to the damage, which is reported.
"""

import lzma
import re
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from io import RawIOBase
from typing import Any

from functions.domain.errors import InputError
from functions.domain.formats import require_fasta
from functions.domain.unpack import Chunks, Damage, inflated

MAX_MEMBERS = 10_000
MAX_DIRECTORY_BYTES = 8 * 1024 * 1024
"""Of a ZIP's list of members, which is held in memory."""

HEAD_BYTES = 64 * 1024
_BLOCK = 512


def is_tar(head: bytes) -> bool:
    return head[257:262] == b"ustar"


def is_zip(head: bytes) -> bool:
    return head.startswith(b"PK\x03\x04")


class Members:
    """Texts of an archive's members, one after the other as one text; remembers which were left out."""

    def __init__(self, window: int) -> None:
        self.left_out: list[str] = []
        self.read = 0
        self._window = window

    def of_tar(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """Yield the text of a tar's members that are FASTA."""
        source = Chunks(chunks)
        long_name = ""
        for _ in range(MAX_MEMBERS):
            header = source.exactly(_BLOCK)
            if not header.strip(b"\0"):
                break
            if len(header) < _BLOCK or header[257:262] != b"ustar":
                raise Damage("the tar archive is damaged")
            size, kind = _tar_number(header[124:136]), header[156:157]
            body = _taken(source, size, self._window)
            if kind in (b"L", b"x"):
                text = b"".join(body) if size <= HEAD_BYTES else b""
                long_name = _tar_name(text, kind) or long_name
            elif kind in (b"0", b"\0", b"7"):
                name = long_name or _tar_path(header)
                yield from self._member(name, body)
                long_name = ""
            for _ in body:
                pass  # the rest of a member that was left out
            source.exactly(-size % _BLOCK)
        self._require_some("a tar archive")

    def of_zip(self, file: "Seekable", size: int) -> Iterator[bytes]:
        """Yield the text of a ZIP's members that are FASTA; `file` can be read from any place."""
        _require_small_directory(file, size)
        try:
            with zipfile.ZipFile(file) as archive:
                members = archive.infolist()
                if len(members) > MAX_MEMBERS:
                    raise InputError(
                        f"{len(members):,}", expected=f"at most {MAX_MEMBERS:,} files in an archive"
                    )
                for member in members:
                    if not member.is_dir():
                        yield from self._zip_member(archive, member)
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError, lzma.LZMAError) as error:
            if file.failure is not None:  # zipfile takes a failed read for a damaged archive
                raise file.failure from error
            raise Damage("the ZIP archive is damaged") from error
        self._require_some("a ZIP archive (or a spreadsheet or document)")

    def _zip_member(self, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Iterator[bytes]:
        if member.flag_bits & 1:
            raise InputError("a ZIP archive with a password; unpack it first", expected="FASTA text")
        try:
            opened = archive.open(member)
        except NotImplementedError:
            raise InputError(
                "a ZIP archive of a newer kind of compression; unpack it with: 7z x FILE",
                expected="FASTA text",
            ) from None
        with opened as file:
            yield from self._member(member.filename, iter(lambda: file.read(self._window), b""))

    def _member(self, name: str, body: Iterator[bytes]) -> Iterator[bytes]:
        """Yield a member's text with its name in the headers if it is FASTA, which may be compressed."""
        if "__MACOSX/" in name or name.rsplit("/", 1)[-1].startswith("."):
            return
        pieces = inflated(body, self._window)
        first = next(pieces, b"")
        while len(first) < HEAD_BYTES and (more := next(pieces, b"")):
            first += more
        try:
            require_fasta(first, whole=len(first) < HEAD_BYTES)
        except InputError as error:
            self.left_out.append(f"{name} ({error.found})")
            return
        self.read += 1
        yield from _named(name, _chained(first, pieces))

    def _require_some(self, what: str) -> None:
        if not self.read:
            inside = f" with {', '.join(self.left_out[:3])}" if self.left_out else ""
            raise InputError(f"{what} without a FASTA file{inside}"[:300], expected="FASTA text")


def _taken(source: Chunks, size: int, window: int) -> Iterator[bytes]:
    while size > 0:
        piece = source.next(min(size, window))
        if not piece:
            raise Damage("the tar archive is cut off")
        size -= len(piece)
        yield piece


def _chained(first: bytes, pieces: Iterator[bytes]) -> Iterator[bytes]:
    if first:
        yield first
    yield from pieces


def _named(name: str, pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Put a file's name behind each header, and a line end behind the last line."""
    label = f" [file={name}]".replace("\r", " ").replace("\n", " ").encode("utf-8", "replace")
    in_header, fresh, last = False, True, b""
    for piece in pieces:
        last = piece[-1:]
        out = []
        for line in re.findall(rb"[^\r\n]+|[\r\n]+", piece):
            if line[:1] in b"\r\n":
                if in_header:
                    out.append(label)
                in_header, fresh = False, True
            elif fresh:
                in_header, fresh = line.startswith((b">", b"\xef\xbb\xbf>")), False
            out.append(line)
        yield b"".join(out)
    if in_header:
        yield label
    if last and last not in b"\r\n":
        yield b"\n"


def _tar_number(field: bytes) -> int:
    """A size in octal digits, or for large ones in base 256."""
    if field[0] & 0x80:
        return int.from_bytes(field[1:], "big")
    try:
        return int(field.strip(b" \0") or b"0", 8)
    except ValueError:
        raise Damage("the tar archive is damaged") from None


def _tar_path(header: bytes) -> str:
    name, prefix = (
        part.split(b"\0", 1)[0].decode("utf-8", "replace") for part in (header[:100], header[345:500])
    )
    return f"{prefix}/{name}" if prefix and header[257:263] == b"ustar\0" else name


def _tar_name(text: bytes, kind: bytes) -> str:
    """A name too long for the header, in GNU's way or in POSIX's."""
    if kind == b"L":
        return text.rstrip(b"\0").decode("utf-8", "replace")
    match = re.search(rb"\d+ path=([^\n]*)\n", text)
    return match[1].decode("utf-8", "replace") if match else ""


def _require_small_directory(file: Any, size: int) -> None:
    """Raise InputError where a ZIP's list of members would take much memory."""
    file.seek(max(size - 70_000, 0))
    tail = file.read(70_000)
    at = tail.rfind(b"PK\x05\x06")
    listed = int.from_bytes(tail[at + 12 : at + 16], "little") if at >= 0 else 0
    if MAX_DIRECTORY_BYTES < listed < 0xFFFFFFFF or b"PK\x06\x06" in tail:
        raise InputError("a ZIP archive of very many files; unpack it first", expected="FASTA text")


class Seekable(RawIOBase):
    """A file that can be read from any place, over a function that reads ranges."""

    def __init__(self, read: Callable[[int, int], bytes], size: int) -> None:
        self._read, self.size, self._at = read, size, 0
        self.failure: Exception | None = None
        """Of the last read, if it failed."""

    def head(self, size: int) -> bytes:
        return self._read(0, min(size, self.size))

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = offset + (0, self._at, self.size)[whence]
        return self._at

    def readinto(self, buffer: Any) -> int:
        end = min(self._at + len(buffer), self.size)
        try:
            data = self._read(self._at, end) if self._at < end else b""
        except Exception as error:
            self.failure = error
            raise
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)
