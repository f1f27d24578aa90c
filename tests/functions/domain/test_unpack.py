"""Texts come out of compressed files and archives, however these are cut, padded, nested or broken."""

import bz2
import gzip
import io
import lzma
import random
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest
from botocore.exceptions import ReadTimeoutError

from functions.domain.archives import Seekable
from functions.domain.errors import InputError
from functions.domain.text import WINDOW_BYTES, Inflater

ONE = b">a1 first\nMKVLAAGIVGLCAK\n"
TWO = b">b1 second\r\nMSTNPKPQRKTKRN"
PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
}


def unpacked(body: bytes, piece: int = 1 << 20) -> tuple[bytes, Inflater]:
    inflater = Inflater()
    whole = Seekable(lambda start, end: body[start:end], len(body))
    chunks = (body[at : at + piece] for at in range(0, len(body), piece))
    return b"".join(inflater.text(chunks, whole)), inflater


def tar(members: dict[str, bytes], kind: int = tarfile.PAX_FORMAT) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=kind) as archive:
        for name, body in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(body)
            archive.addfile(entry, io.BytesIO(body))
    return buffer.getvalue()


def zipped(members: dict[str, bytes], kind: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", kind) as archive:
        for name, body in members.items():
            archive.writestr(name, body)
    return buffer.getvalue()


@pytest.mark.parametrize("name", PACKERS)
@pytest.mark.parametrize("piece", [1, 7, 1 << 20])
def test_streams_one_after_the_other_are_one_text(name: str, piece: int) -> None:
    pack = PACKERS[name]
    text, inflater = unpacked(pack(ONE) + pack(TWO) + bytes(600), piece)
    assert (text, inflater.damage, inflater.size) == (ONE + TWO, "", len(ONE + TWO))


@pytest.mark.parametrize("name", PACKERS)
@pytest.mark.parametrize("cut", [1, 5, 9, 200])
def test_any_cut_of_a_stream_is_noticed(name: str, cut: int) -> None:
    body = random.Random(1).randbytes(3000)
    text, inflater = unpacked(PACKERS[name](body)[:-cut])
    assert body.startswith(text) and "cut off" in inflater.damage


@pytest.mark.parametrize("piece", [1, 5, 1 << 20])
def test_text_behind_a_stream_and_a_stream_behind_text_are_read(piece: int) -> None:
    text, inflater = unpacked(gzip.compress(ONE) + TWO, piece)
    assert (text, inflater.damage) == (ONE + TWO, "")
    text, inflater = unpacked(ONE + gzip.compress(TWO), piece)
    assert (text, inflater.damage) == (ONE + TWO, "")


@pytest.mark.parametrize("kind", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
@pytest.mark.parametrize("outer", [bytes, *PACKERS.values()])
def test_each_member_of_a_tar_is_read_with_its_name(kind: int, outer: Callable[[bytes], bytes]) -> None:
    members = {
        "a.faa": ONE,
        "x/README": b"made by hand",
        "x/" + "n" * 90 + ".faa": gzip.compress(TWO),
        "._a": b"\0",
    }
    text, inflater = unpacked(outer(tar(members, kind)), 700)
    assert text == (
        b">a1 first [file=a.faa]\nMKVLAAGIVGLCAK\n>b1 second [file=x/"
        + b"n" * 90
        + b".faa]\r\nMSTNPKPQRKTKRN\n"
    )
    assert len(inflater.left_out) == 1 and inflater.left_out[0].startswith("x/README") and not inflater.damage


@pytest.mark.parametrize(
    "kind", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]
)
def test_each_member_of_a_zip_is_read_with_its_name(kind: int) -> None:
    members = {"p/a.faa": ONE, "__MACOSX/p/._a.faa": b"\0\5", "table.csv": b"a,b\n", "b.faa": TWO}
    text, inflater = unpacked(zipped(members, kind))
    assert text == b">a1 first [file=p/a.faa]\nMKVLAAGIVGLCAK\n>b1 second [file=b.faa]\r\nMSTNPKPQRKTKRN\n"
    assert [name.split(" ")[0] for name in inflater.left_out] == ["table.csv"]


@pytest.mark.parametrize("pack", [tar, zipped])
def test_an_archive_without_fasta_is_refused_by_name(pack: Callable[[dict[str, bytes]], bytes]) -> None:
    with pytest.raises(InputError, match=r"archive.* without a FASTA file"):
        unpacked(pack({"word/document.xml": b"<?xml?><w/>"}))


def test_a_broken_archive_keeps_what_was_read_before() -> None:
    text, inflater = unpacked(tar({"a": ONE, "b": TWO * 100})[:2000])
    assert text.startswith(b">a1 first [file=a]") and inflater.damage == "the tar archive is cut off"
    text, inflater = unpacked(zipped({"a": ONE})[:-30])
    assert (text, inflater.damage) == (b"", "the ZIP archive is damaged")


@pytest.mark.parametrize("pack", [*PACKERS.values(), lambda body: zipped({"a.fa": body}), lambda body: gzip.compress(tar({"a.fa": body}))])  # fmt: skip
def test_unpacked_text_is_bounded_whatever_its_packing_claims(
    pack: Callable[[bytes], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    bomb = pack(ONE + b"A" * (20 * WINDOW_BYTES))
    inflater = Inflater()
    whole = Seekable(lambda start, end: bomb[start:end], len(bomb))
    assert max(len(piece) for piece in inflater.text([bomb], whole)) <= WINDOW_BYTES + 4096
    monkeypatch.setattr("functions.domain.text.MAX_TEXT_BYTES", 3 * WINDOW_BYTES)
    with pytest.raises(InputError, match="expected at most"):
        unpacked(bomb)


def test_xz_that_needs_much_memory_is_refused() -> None:
    body = lzma.compress(ONE, filters=[{"id": lzma.FILTER_LZMA2, "dict_size": 256 * 1024 * 1024}])
    with pytest.raises(InputError, match="needs more memory"):
        unpacked(body)


def test_a_zip_with_a_password_is_refused() -> None:
    body = bytearray(zipped({"a.faa": ONE}))
    body[6] |= 1
    body[body.index(b"PK\x01\x02") + 8] |= 1
    with pytest.raises(InputError, match="password"):
        unpacked(bytes(body))


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress])
def test_a_read_that_fails_is_no_damage_of_the_file(compress: Callable[[bytes], bytes]) -> None:
    packed = compress(random.Random(1).randbytes(20_000).hex().encode())

    def chunks() -> Iterator[bytes]:
        yield packed[:5_000]
        raise ReadTimeoutError(endpoint_url="s3")  # an OSError, as requests has it

    inflater = Inflater()
    with pytest.raises(ReadTimeoutError):
        list(inflater.text(chunks()))
    assert not inflater.damage


@pytest.mark.parametrize(
    "kind", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]
)
def test_a_read_that_fails_is_no_damage_of_an_archive(kind: int) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", kind) as archive:
        archive.writestr("a.fasta", b">a\n" + random.Random(1).randbytes(200_000).hex().encode())
    packed = buffer.getvalue()
    for failing in range(1, 12):
        reads = iter(range(1, 1_000))

        def read(start: int, end: int, failing: int = failing, reads: Iterator[int] = reads) -> bytes:
            if next(reads) == failing:
                raise ReadTimeoutError(endpoint_url="s3")
            return packed[start:end]

        inflater = Inflater()
        with suppress(ReadTimeoutError):
            list(inflater.text(iter([packed]), Seekable(read, len(packed))))
        assert not inflater.damage, failing
