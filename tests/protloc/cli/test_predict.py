"""`protloc predict` and its results: exit codes, JSON, files, and the output in a terminal."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet
import pytest

from functions.domain.rows import COLUMNS
from tests.children import child
from tests.conftest import ROOT, SAMPLE, Embedded, from_tsv
from tests.end_to_end.failing import without_predict
from tests.waiting import LIMIT_SECONDS

JSON_KEYS = [
    "upload",
    "status",
    "records",
    "predicted",
    "rejected",
    "failed",
    "seconds",
    "output",
    "reason",
    "warnings",
]

ODD_NAMES = [
    "my proteins (1)+copy.fasta",
    "Proteïne für Jürgen.fa",
    "100%25 & more=?#.faa",
    "日本語.pro",
    "-starts-with-a-dash.fasta",
    "no extension",
    "two\nlines.fasta",
    "x" * 240 + ".fa",
]

HOSTILE = (
    b">esc\x1b[2Jape\x07 title\x1b]0;owned\x07\nMKVLAAGIVG\n"
    b">[red]markup[/red] [link=http://x]y[/link]\nMKVLAAGIVGL\n"
    b">bidi\xe2\x80\xaegnp.exe\xe2\x81\xa6 zero\xe2\x80\x8bwidth\nMKVLAAGIVGLC\n"
    b">=1+1 formula\nMKVLAAGIVGLCA\n"
    b">latin1 \xff\xfe bytes\nMKVLAAGIVGLCAK\n"
    b">:smile: {braces} %s $HOME `id`\nMK1\n"
)


def fasta(
    tmp_path: Path, content: bytes = b">a\nMKVLAAGIVG\n>b\nMKVLAAGIVGL\n", name: str = "in.fasta"
) -> Path:
    path = tmp_path / name
    path.write_bytes(content)
    return path


def test_the_sample_is_answered_as_one_json_object(embedded: Embedded) -> None:
    result = embedded.protloc("predict", SAMPLE, "--json")
    answer = json.loads(result.stdout)
    assert result.exit_code == 0
    assert list(answer) == JSON_KEYS
    assert answer["status"] == "complete"
    assert [answer[name] for name in ("records", "predicted", "rejected", "failed")] == [47, 46, 1, 0]
    assert answer["output"] == "sample.fasta.protloc.tsv"
    assert "sending" in result.stderr and "finishing" in result.stderr


def test_the_results_hold_a_row_for_every_record_in_file_order(embedded: Embedded) -> None:
    answer = embedded.answer("predict", SAMPLE)
    rows = from_tsv(Path(answer["output"]).read_text(encoding="utf-8"))
    headers = [line[1:] for line in SAMPLE.read_text().splitlines() if line.startswith(">")]
    assert tuple(rows[0]) == COLUMNS
    assert [row["header"] for row in rows] == headers
    by_name = {row["accession"]: row for row in rows}
    assert by_name["empty"]["status"] == "rejected"
    assert by_name["lower-case"]["remarks"] == "lower case read as upper case"
    assert by_name["terminal-stop"]["remarks"] == "terminal * removed"
    twins = [row["p:Nucleus"] for row in rows if row["accession"] == "P62805"]
    assert len(twins) == 2 and twins[0] == twins[1]


def test_every_format_holds_the_same_rows(embedded: Embedded, tmp_path: Path) -> None:
    answer = embedded.answer("predict", fasta(tmp_path, HOSTILE), "-o", "r.jsonl")
    rows = [json.loads(line) for line in Path("r.jsonl").read_bytes().splitlines()]
    for name in ("tsv", "csv", "parquet"):
        embedded.answer("results", answer["upload"], "-o", f"r.{name}")
    assert len(rows) == 6
    assert pyarrow.parquet.read_table("r.parquet").to_pylist() == rows
    embedded.answer("results", answer["upload"], "-o", "defused.tsv", "--spreadsheet")
    tsv, csv = from_tsv(Path("r.tsv").read_text()), from_tsv(Path("r.csv").read_text(), ",")
    assert from_tsv(Path("defused.tsv").read_text()) == csv
    for row, text in zip(rows, tsv, strict=True):
        assert text["status"] == row["status"] and text["offset"] == str(row["offset"])
        if row["confidence"] is not None:
            assert float(text["confidence"]) == row["confidence"]


def test_tsv_and_jsonl_are_the_stacks_own_bytes(embedded: Embedded, tmp_path: Path) -> None:
    answer = embedded.answer("predict", fasta(tmp_path), "-o", "r.tsv")
    embedded.answer("results", answer["upload"], "-o", "r.jsonl")
    results = embedded.client.upload(answer["upload"])["results"]
    for name in ("tsv", "jsonl"):
        bucket, _, key = results[name].removeprefix("s3://").partition("/")
        stored = embedded.client.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read()
        assert Path(f"r.{name}").read_bytes() == stored


def test_an_organism_that_the_model_does_not_know_is_a_remark_and_a_warning(
    embedded: Embedded, tmp_path: Path
) -> None:
    arguments = ("predict", fasta(tmp_path), "--organism", "Bacillus subtilis", "-o", "r.jsonl", "--json")
    result = embedded.protloc(*arguments)
    rows = [json.loads(line) for line in Path("r.jsonl").read_bytes().splitlines()]
    foreign = "of bacteria, and the model knows eukaryotic cells only"
    assert [foreign in row["remarks"] for row in rows] == [True, True]
    warnings = [f"2 of 2 answers are for proteins {foreign}"]
    assert json.loads(result.stdout)["warnings"] == warnings
    assert f"warning: {warnings[0]}" in result.stderr


@pytest.mark.parametrize("name", ODD_NAMES)
def test_any_file_name_goes_through(embedded: Embedded, tmp_path: Path, name: str) -> None:
    source = fasta(tmp_path, name=name)
    answer = embedded.answer("predict", f"./{source.name}", "-o", "r.tsv")
    key = embedded.client.upload(answer["upload"])["key"]
    assert answer["predicted"] == 2
    assert key.rsplit("/", 1)[1] == name.replace("\n", "_")


def test_results_are_named_after_the_whole_file_name(embedded: Embedded, tmp_path: Path) -> None:
    answer = embedded.answer("predict", fasta(tmp_path, name="a b.fasta"), "--format", "csv")
    assert answer["output"] == "a b.fasta.protloc.csv"
    again = embedded.answer("results", answer["upload"])
    assert again["output"] == "a b.fasta.protloc.tsv"


def test_nothing_of_a_header_steers_the_terminal(embedded: Embedded, tmp_path: Path) -> None:
    result = embedded.protloc("predict", fasta(tmp_path, HOSTILE), "--table")
    output = result.stdout + result.stderr
    assert result.exit_code == 0
    assert all(character.isprintable() or character == "\n" for character in output)
    assert "esc\\x1b[2Jape" in output
    assert "[red]markup[/red]" in output
    assert ":smile:" in output


def test_the_table_says_what_came_out_and_what_to_do_next(embedded: Embedded) -> None:
    result = embedded.protloc("predict", SAMPLE, "--table")
    for expected in ("B2B9D9", "rejected: line 177", "proteins", "sample.fasta.protloc.tsv", "protloc down"):
        assert expected in result.stdout
    assert embedded.client.api_url in result.stdout


def test_standard_input_and_output_work_as_files(embedded: Embedded) -> None:
    result = embedded.protloc("predict", "-", "-o", "-", "-f", "csv", stdin=b">a\nMKVLAAGIVG\n")
    assert result.exit_code == 0
    assert [row["accession"] for row in from_tsv(result.stdout, ",")] == ["a"]


def test_no_wait_prints_the_name_under_which_it_can_be_found(embedded: Embedded, tmp_path: Path) -> None:
    result = embedded.protloc("predict", fasta(tmp_path), "--no-wait")
    upload = result.stdout.strip()
    assert result.exit_code == 0 and len(upload) == 26
    answer = embedded.answer("results", upload, "--wait")
    assert answer["status"] == "complete" and Path("in.fasta.protloc.tsv").exists()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "an empty file"),
        (b"\xff\xd8\xff\xe0 not proteins", "a JPEG image"),
        (b"just some words\n", "a header that begins with '>'"),
    ],
)
def test_a_file_that_is_no_fasta_fails_in_one_line(
    embedded: Embedded, tmp_path: Path, content: bytes, reason: str
) -> None:
    result = embedded.protloc("predict", fasta(tmp_path, content), "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["status"] == "failed"
    assert reason in result.stderr.splitlines()[-1]


def test_a_damaged_file_keeps_what_was_read_and_says_so(embedded: Embedded, tmp_path: Path) -> None:
    import gzip

    whole = gzip.compress(b"".join(b">p%d\n%s\n" % (n, os.urandom(40).hex().encode()) for n in range(4000)))
    result = embedded.protloc("predict", fasta(tmp_path, whole[: len(whole) // 2], "cut.fasta.gz"), "--json")
    answer = json.loads(result.stdout)
    assert result.exit_code == 1
    assert answer["status"] == "partial" and 0 < answer["records"] < 4000
    assert Path(answer["output"]).exists()


def test_time_that_is_over_exits_1_and_says_how_to_come_back(embedded: Embedded, tmp_path: Path) -> None:
    with without_predict(embedded):
        result = embedded.protloc("predict", fasta(tmp_path), "--timeout", "0.05s", "--json")
    answer = json.loads(result.stdout)
    assert result.exit_code == 1
    assert f"protloc show {answer['upload']}" in result.stderr.splitlines()[-1]
    assert answer["output"] is None


@pytest.mark.parametrize(
    "arguments",
    [
        ["predict", "there-is-none.fasta"],
        ["predict", "."],
        ["predict"],
        ["predict", SAMPLE, "--format", "xls"],
        ["predict", SAMPLE, "--timeout", "soon"],
        ["predict", SAMPLE, "--organism", "Nomen nescio"],
        ["predict", SAMPLE, "--output", "no/such/folder/x.tsv"],
        ["predict", SAMPLE, "--output", "-", "--json"],
        ["show", "nosuchupload"],
        ["show", "a" * 26],
        ["results", "no/such?upload"],
        ["models", "add", "no-such-artifact"],
        ["fold", SAMPLE],
    ],
)
def test_wrong_usage_exits_2_with_one_line_on_stderr(embedded: Embedded, arguments: list[object]) -> None:
    result = embedded.protloc(*arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1 and result.stderr.startswith("protloc: ")


def test_the_input_is_never_overwritten(embedded: Embedded, tmp_path: Path) -> None:
    source = fasta(tmp_path)
    (tmp_path / "link.tsv").symlink_to(source)
    for output in (source, "link.tsv"):
        assert embedded.protloc("predict", source, "--output", output).exit_code == 2
    assert source.read_bytes().startswith(b">a")


def test_a_download_that_breaks_off_leaves_the_old_file_and_no_other(
    embedded: Embedded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from protloc.stack.client import Client

    source = fasta(tmp_path)
    Path("r.tsv").write_text("of yesterday")

    def broken(self: Client, uri: str, target: Path) -> None:
        target.write_text("half a")
        raise OSError("the line is dead")

    monkeypatch.setattr(Client, "download", broken)
    result = embedded.protloc("predict", source, "-o", "r.tsv", "--json")
    assert result.exit_code == 1 and "protloc results" in result.stderr
    assert json.loads(result.stdout)["output"] is None
    assert Path("r.tsv").read_text() == "of yesterday"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.fasta", "r.tsv"]


@pytest.mark.parametrize("command", ["uploads", "models", "show x", "results x"])
def test_without_a_cloud_looking_exits_3(tmp_path: Path, embedded: Embedded, command: str) -> None:
    result = embedded.protloc(*command.split(), PROTLOC_HOME=str(tmp_path / "nothing"))
    assert result.exit_code == 3
    assert "protloc up" in result.stderr and result.stdout == ""


def test_an_interrupted_wait_leaves_the_upload_running(embedded: Embedded, tmp_path: Path) -> None:
    source = fasta(tmp_path, b"".join(b">p%d\nM%s\n" % (n, b"KV" * (1 + n)) for n in range(30)))
    with without_predict(embedded):
        process = subprocess.Popen(
            child([sys.executable, "-m", "protloc.cli.main", "predict", str(source)]),
            env={**os.environ, "PROTLOC_HOME": str(embedded.home), "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stderr
        assert any(line.startswith("predicting") for line in process.stderr)
        process.send_signal(signal.SIGINT)
        output = process.stderr.read()
        assert process.wait(LIMIT_SECONDS) == 130
        upload = output.split("protloc show ")[1].split()[0]
        assert embedded.client.upload(upload)["finished"] is None
    assert embedded.answer("results", upload, "--wait")["records"] == 30


def test_neither_help_nor_a_prediction_imports_torch(embedded: Embedded) -> None:
    program = (
        "import sys, protloc.cli.main\n"
        "assert not {'boto3', 'pyarrow'} & set(sys.modules)\n"
        "try: protloc.cli.main.main(sys.argv[1:])\n"
        "except SystemExit as end: assert end.code == 0, end.code\n"
        "assert not {'torch', 'transformers'} & set(sys.modules)\n"
    )
    environment = {**os.environ, "PROTLOC_HOME": str(embedded.home), "PYTHONPATH": str(ROOT)}
    arguments = [sys.executable, "-c", program, "predict", str(SAMPLE), "-f", "parquet"]
    subprocess.run(arguments, env=environment, check=True, capture_output=True)
