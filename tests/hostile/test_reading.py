"""Reading keeps its promises on every seed of the fuzzer, every hostile header and file, and on random texts."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = """
import random
from pathlib import Path
from tests.hostile.corpus import FILES, HEADERS
from tests.hostile.reading import check

draw = random.Random(4)
texts = [path.read_bytes()[3:] for path in Path("tests/hostile/seeds").iterdir()]
texts += [b">" + header[:300] + b"\\nMKV" for header in HEADERS.values()]
texts += [body[:300] for body, _ in FILES.values()]
words = [b">", b"\\n", b"\\r", b"\\n>", b"\\n;", b"MKV", b" ", b"*", b"\\0", b"x" * 50, b"\\x1f\\x8b\\x08", b"\\xef\\xbb\\xbf"]
texts += [b"".join(draw.choices(words, k=draw.randint(1, 40))) for _ in range(3000)]
words = [
    b">a", b">P1;x", b">a >b", b"\\n", b"\\n", b"\\r\\n", b"\\r", b"MKVLAAGIVGW", b"mkvlaagivgw", b"MKVLAAGIVGW*>", b"\\xef\\xbb\\xbf>",
    b" >", b"\\x1a>", b"\\0>", b"<pre>", b"</b>", b"\\xc2\\xa0", b"\\xa0", b"--", b"//", b"# x", b"#", b";", b"Met-Lys-Val-Leu", b"MET LYS ",
    b"IIIIIOOOOOO", b"HHHHHEEECCC", b"11223344556", b"wrapped in an email", b"Sequence unavailable", b"None", b"1 ", b" 37", b".", b"..",
    b"_", b"-", b"ACGTTGCAAGC", b"MdKvVvLpApAvGvAaKa", b"(((...)))", b"Hypothetical", b"sp|P1|X", b"\\\\n>", b"'", b"XXXXXXXXXXX", b"DVVVPLSVVVD",
]
texts += [b">" + b"".join(draw.choices(words, k=draw.randint(1, 12))) for _ in range(9000)]
for text in texts:
    check(bytes(draw.choices(range(256), k=3)) + text)
print(len(texts))
"""


def test_what_holds_for_any_bytes_holds_for_those_we_know() -> None:
    """In a process of its own, where limits are small."""
    ended = subprocess.run([sys.executable, "-c", SCRIPT], cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert int(ended.stdout) > 3000


def test_fuzzing_is_within_reach() -> None:
    """A few thousand executions where the fuzzer is installed; .ci/run does more."""
    pytest.importorskip("atheris")
    # No limit of memory: the system counts the largest size of a process from that of the one that started it.
    command = [sys.executable, "-m", "tests.hostile.fuzz", "-runs=2000", "-rss_limit_mb=0"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True)
    assert ended.returncode == 0, ended.stderr.decode(errors="replace")[-3000:]
