"""Several files at once, the formats and places of results, and the ways to name an upload."""

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from openpyxl.utils.escape import unescape

from functions.domain.rows import COLUMNS
from protloc.cli.shared import Loudness
from protloc.cli.workbook import write_workbook
from tests.conftest import ROOT, SAMPLE, Embedded, from_tsv

SMALL = ">one\nMKVLAAGIVG\n>two\nMKVLAAGIVGL\n"


def write(path: Path, text: str = SMALL) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return path


def cells(path: Path) -> list[tuple[Any, ...]]:
    """The rows of a workbook, as openpyxl reads them."""
    sheet = openpyxl.load_workbook(path)["predictions"]
    assert sheet.freeze_panes == "A2" and sheet.auto_filter.ref == sheet.dimensions
    return list(sheet.iter_rows(values_only=True))


def test_several_files_are_answered_each_in_its_own_place(embedded: Embedded, tmp_path: Path) -> None:
    first = write(tmp_path / "a" / "x.fasta")
    second = write(tmp_path / "b" / "x.fasta", ">three\nMKVLAAGIVGLC\n")
    answers = embedded.answer("predict", first, second)["uploads"]
    assert [answer["output"] for answer in answers] == ["x.fasta.protloc.tsv", "x.fasta.2.protloc.tsv"]
    for answer, names in zip(answers, (["one", "two"], ["three"]), strict=True):
        assert [row["accession"] for row in from_tsv(Path(answer["output"]).read_text())] == names
    folder = tmp_path / "results"
    folder.mkdir()
    result = embedded.protloc("predict", first, second, "-o", folder)
    assert result.exit_code == 0, result.stderr
    assert {path.name for path in folder.iterdir()} == {"x.fasta.protloc.tsv", "x.fasta.2.protloc.tsv"}
    assert len(result.stdout.splitlines()) == 2


def test_results_of_one_file_go_into_a_folder_which_is_made(embedded: Embedded, tmp_path: Path) -> None:
    answer = embedded.answer("predict", write(tmp_path / "x.fasta"), "-o", f"{tmp_path}/new/results/")
    assert answer["output"] == str(tmp_path / "new" / "results" / "x.fasta.protloc.tsv")
    embedded.answer("results", answer["upload"], "-f", "csv", "-o", tmp_path / "new")
    assert {path.name for path in (tmp_path / "new").iterdir()} == {"results", "x.fasta.protloc.csv"}
    (tmp_path / "file").write_text("")
    result = embedded.protloc("predict", tmp_path / "x.fasta", "-o", f"{tmp_path}/file/")
    assert result.exit_code == 2 and "cannot be made" in result.stderr


def test_one_bad_file_of_several_costs_only_itself(embedded: Embedded, tmp_path: Path) -> None:
    files = [write(tmp_path / "bad.fasta", "no fasta\n"), write(tmp_path / "good.fasta")]
    result = embedded.protloc("predict", *files, "--json")
    assert result.exit_code == 1
    assert [each["status"] for each in json.loads(result.stdout)["uploads"]] == ["failed", "complete"]
    assert Path("good.fasta.protloc.tsv").exists()


@pytest.mark.parametrize(
    ("files", "words", "problem"),
    [
        (["a.fasta", "b.fasta"], ["-o", "one.tsv"], "one.tsv is one file"),
        (["-", "-"], [], "can be read once only"),
        (["a.fasta"], ["-o", "answers.txt"], "no format ends so"),
        (["a.fasta"], ["-o", "answers.parquet.gz"], "no format ends so"),
        (["a.fasta"], ["-o", "answers.gz", "-f", "xlsx"], "compressed already"),
        (["a.fasta"], ["--once", "--stack", "protloc"], "choose one"),
        (["a.fasta", "gone.fasta"], [], "there is no file gone.fasta"),
        (["x" * 300], [], "File name too long"),
        (["a.fasta"], ["-o", "x" * 300 + ".tsv"], "File name too long"),
    ],
)
def test_what_cannot_be_written_or_read_is_refused_in_one_line(
    embedded: Embedded, files: list[str], words: list[str], problem: str
) -> None:
    for name in ("a.fasta", "b.fasta"):
        write(Path(name))
    result = embedded.protloc("predict", *files, *words)
    assert result.exit_code in (1, 2) and problem in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_the_end_of_the_name_chooses_a_workbook_or_compression(embedded: Embedded) -> None:
    plain = embedded.answer("predict", SAMPLE, "-o", "plain.tsv")
    packed = embedded.answer("results", plain["upload"], "-o", "packed.tsv.gz")
    assert gzip.decompress(Path(packed["output"]).read_bytes()) == Path("plain.tsv").read_bytes()
    book = embedded.answer("results", plain["upload"], "-o", "book.xlsx")
    rows = cells(Path(book["output"]))
    assert tuple(rows[0]) == COLUMNS and len(rows) == 48
    assert [row[0] for row in rows[1:]] == [
        row["accession"] for row in from_tsv(Path("plain.tsv").read_text())
    ]


def test_a_workbook_holds_any_text_as_text(tmp_path: Path) -> None:
    odd = {
        "accession": "=1+1",
        "header": "<b>&\x00\ufffe _x000D_ \ud800",
        "remarks": ["a", "b"],
        "uncertain": True,
    }
    write_workbook([dict.fromkeys(COLUMNS) | odd], COLUMNS, tmp_path / "odd.xlsx")
    row = dict(zip(COLUMNS, cells(tmp_path / "odd.xlsx")[1], strict=True))
    assert (row["accession"], row["remarks"], row["uncertain"]) == ("=1+1", "a; b", True)
    assert row["membrane"] is None
    # Of inline strings openpyxl shows ECMA-376's escape, which Excel reads as the escaped character.
    assert unescape(row["header"]) == "<b>&\ufffd\ufffd _x000D_ \ufffd"
    assert openpyxl.load_workbook(tmp_path / "odd.xlsx").active["A2"].data_type == "s"


def test_a_link_is_written_through(embedded: Embedded, tmp_path: Path) -> None:
    write(tmp_path / "elsewhere" / "old.tsv", "old")
    Path("link.tsv").symlink_to(tmp_path / "elsewhere" / "old.tsv")
    Path("dangling.tsv").symlink_to(tmp_path / "elsewhere" / "new.tsv")
    for name in ("link.tsv", "dangling.tsv"):
        assert embedded.protloc("predict", SAMPLE, "-o", name).exit_code == 0
        assert Path(name).is_symlink() and len(from_tsv(Path(name).resolve().read_text())) == 47
    assert sorted(path.name for path in (tmp_path / "elsewhere").iterdir()) == ["new.tsv", "old.tsv"]


def test_an_upload_is_named_by_its_beginning_as_the_latest_or_by_its_file(
    embedded: Embedded, tmp_path: Path
) -> None:
    upload = embedded.answer("predict", write(tmp_path / "named (1).fasta"))["upload"]
    for name in (upload, upload[:12], "latest", "named (1).fasta"):
        assert embedded.answer("show", name)["upload"] == upload
    assert embedded.answer("results", "latest")["upload"] == upload
    assert embedded.protloc("report", "latest", "-o", "page.html").exit_code == 0
    for name in ("nothing.fasta", "aaaa", "x"):
        result = embedded.protloc("show", name)
        assert result.exit_code == 2 and f"there is no upload {name}" in result.stderr


def test_a_protein_is_shown_with_a_bar_for_each_location(embedded: Embedded, tmp_path: Path) -> None:
    embedded.answer("predict", write(tmp_path / "p.fasta", ">bar-1 its title\nMKVLAAGIVGLCAK\n"))
    (row,) = embedded.answer("protein", "bar-1")["predictions"]
    assert row["accession"] == "bar-1" and row["status"] == "predicted"
    output = embedded.protloc("protein", "bar-1").stdout
    assert "bar-1 its title" in output and output.count(" %") >= 10 and "█" in output
    result = embedded.protloc("protein", "bar-2")
    assert result.exit_code == 2 and len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize("words", [("status", "--verbose"), ("--verbose", "status")])
def test_verbose_is_heard_before_and_after_the_command(embedded: Embedded, words: tuple[str, str]) -> None:
    embedded.protloc(*words)
    assert (Loudness.verbose, Loudness.quiet) == (True, False)
    embedded.protloc("status")
    assert not Loudness.verbose


@pytest.mark.parametrize("word", ["--quiet", "-q"])
def test_quiet_may_stand_before_a_command_or_a_group_of_them(embedded: Embedded, word: str) -> None:
    result = embedded.protloc(word, "predict", SAMPLE, "-o", "quiet.tsv")
    assert (result.exit_code, result.stderr) == (0, "")
    assert embedded.protloc(word, "models").exit_code == 0 and Loudness.quiet


def test_quiet_says_nothing_and_verbose_tells_requests(embedded: Embedded) -> None:
    result = embedded.protloc("predict", SAMPLE, "--quiet", "-o", "quiet.tsv")
    assert result.exit_code == 0 and result.stderr == ""
    result = embedded.protloc("models", "report", "none", "--verbose")
    assert result.exit_code == 2 and "Traceback" in result.stderr
    assert "Traceback" not in embedded.protloc("models", "report", "none").stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_can_complete_commands(embedded: Embedded, shell: str) -> None:
    result = embedded.protloc("completion", shell)
    assert result.exit_code == 0 and "_PROTLOC_COMPLETE" in result.stdout
    assert embedded.protloc("-V").stdout.startswith("protloc ")


def test_each_file_that_comes_into_a_folder_is_predicted_once_it_is_whole(
    embedded: Embedded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "incoming"
    growing = write(folder / "growing.fasta", ">one\nMKVLAAGIVG\n")
    write(folder / "notes.txt")
    write(folder / "bad.fa", "no fasta\n")
    output = folder / "growing.fasta.protloc.tsv"
    looks = iter(range(5))

    def pause() -> None:
        look = next(looks, None)
        if look is None:
            raise KeyboardInterrupt
        if look == 0:  # between the first looks it grows, so the second does not take it
            write(growing, SMALL)
        elif look == 1:
            assert not output.exists()

    monkeypatch.setattr("protloc.cli.watching._pause", pause)
    result = embedded.protloc("watch", folder)
    assert result.exit_code == 0, result.stderr
    assert len(from_tsv(output.read_text())) == 2
    assert result.stdout.count("complete: ") == 1 and result.stderr.count("bad.fa: ") == 1
    assert {path.name for path in folder.iterdir()} == {"growing.fasta", "notes.txt", "bad.fa", output.name}
    looks = iter(range(3))
    assert "complete" not in embedded.protloc("watch", folder).stdout


def run(*words: object, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "protloc.cli.main", *map(str, words)]
    variables = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    return subprocess.run(command, env=variables, capture_output=True, text=True, stdin=subprocess.DEVNULL)


def test_an_odd_environment_costs_no_traceback(embedded: Embedded, tmp_path: Path) -> None:
    home = {"PROTLOC_HOME": str(embedded.home)}
    broken = write(tmp_path / "config", "[profile\nnot a config")
    done = run("uploads", **home, AWS_PROFILE="none", AWS_CONFIG_FILE=str(broken))
    assert (done.returncode, done.stderr) == (0, "")
    done = run("predict", SAMPLE, "-o", "latin.tsv", **home, PYTHONIOENCODING="latin-1:strict")
    assert done.returncode == 0 and "complete" in done.stdout, done.stderr
    ascii_alone = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    for command in (["models"], ["protein", "P60709"], ["predict", SAMPLE, "--table"]):
        done = run(*command, **home, **ascii_alone)
        assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr
    script = '"$@" <&-'
    words = [sys.executable, "-m", "protloc.cli.main", "predict", "-"]
    variables = {**os.environ, "PYTHONPATH": str(ROOT), **home}
    closed = subprocess.run(["sh", "-c", script, "sh", *words], env=variables, capture_output=True, text=True)
    assert closed.returncode == 2 and "stdin is closed" in closed.stderr
    assert len(closed.stderr.splitlines()) == 1


def test_no_cloud_is_started_for_an_input_that_is_closed(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "protloc.cli.main", "predict", "-"]
    variables = {**os.environ, "PYTHONPATH": str(ROOT), "PROTLOC_HOME": str(tmp_path / "home")}
    done = subprocess.run(
        ["sh", "-c", '"$@" <&-', "sh", *words], env=variables, capture_output=True, text=True
    )
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1
    assert "stdin is closed" in done.stderr and not (tmp_path / "home").exists()


def test_a_reader_that_has_seen_enough_is_no_error(embedded: Embedded) -> None:
    upload = embedded.answer("predict", SAMPLE)["upload"]
    script = '"$@" | head -1; exit "${PIPESTATUS[0]}"'
    words = [sys.executable, "-m", "protloc.cli.main", "results", upload, "-f", "jsonl", "-o", "-"]
    variables = {**os.environ, "PYTHONPATH": str(ROOT), "PROTLOC_HOME": str(embedded.home)}
    done = subprocess.run(
        ["bash", "-c", script, "bash", *words], env=variables, capture_output=True, text=True
    )
    assert done.returncode == 0 and done.stderr == "", done.stderr


def test_a_reader_that_is_gone_is_no_error_of_any_command(embedded: Embedded) -> None:
    """Commands print tables or lines, more than a buffer holds or less."""
    embedded.answer("predict", SAMPLE)
    for command in (
        ["--help"],
        ["show", "--help"],
        ["completion", "bash"],
        ["uploads"],
        ["show", "latest"],
        ["show", "latest", "--json"],
        ["protein", "B2B9D9"],
        ["results", "latest", "-o", "-"],
        ["predict", SAMPLE, "--table", "-o", "rows.tsv"],
        ["estimate", SAMPLE],
    ):
        reader, writer = os.pipe()
        os.close(reader)
        words = [sys.executable, "-m", "protloc.cli.main", *map(str, command)]
        variables = {**os.environ, "PYTHONPATH": str(ROOT), "PROTLOC_HOME": str(embedded.home)}
        with open(writer, "wb") as stdout:
            done = subprocess.run(words, env=variables, stdout=stdout, stderr=subprocess.PIPE, text=True)
        assert done.returncode == 0 and "Traceback" not in done.stderr, (command, done.stderr)
        assert "BrokenPipe" not in done.stderr, command


@pytest.mark.slow
def test_once_leaves_nothing_behind_but_the_results(tmp_path: Path) -> None:
    places = {name: str(tmp_path / name) for name in ("TMPDIR", "PROTLOC_HOME")}
    (tmp_path / "TMPDIR").mkdir()
    done = run("predict", SAMPLE, "--once", "-o", tmp_path / "out.tsv", "--json", **places)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["predicted"] == 46
    assert len(from_tsv((tmp_path / "out.tsv").read_text())) == 47
    assert list((tmp_path / "TMPDIR").iterdir()) == [] and not (tmp_path / "PROTLOC_HOME").exists()


def test_a_later_input_of_the_same_name_leaves_the_results_of_the_first(
    embedded: Embedded, tmp_path: Path
) -> None:
    first, second = tmp_path / "one" / "x.fasta", tmp_path / "two" / "x.fasta"
    for file, text in ((first, ">a\nMKVLAAGIVG\n"), (second, ">b\nMKVLAAGIVGL\n")):
        file.parent.mkdir()
        file.write_text(text)
    one = embedded.answer("predict", first)
    kept = Path("x.fasta.protloc.tsv").read_bytes()
    two = embedded.protloc("predict", second)
    assert two.exit_code == 0 and two.stdout.rstrip().endswith("x.fasta.2.protloc.tsv")
    assert "x.fasta.protloc.tsv holds other results, which stay" in two.stderr
    assert one["output"] == "x.fasta.protloc.tsv" and Path(one["output"]).read_bytes() == kept
    assert Path("x.fasta.2.protloc.tsv").read_text().splitlines()[1].startswith("b\t")
    for again, number in ((first, ""), (second, ".2")):  # the same results need no other file
        assert embedded.answer("predict", again)["output"] == f"x.fasta{number}.protloc.tsv"
    assert embedded.answer("results", "latest")["output"] == "x.fasta.2.protloc.tsv"
    assert embedded.answer("results", one["upload"], "-f", "csv")["output"] == "x.fasta.protloc.csv"
    assert embedded.answer("results", "latest", "-f", "csv")["output"] == "x.fasta.2.protloc.csv"
    assert {path.name for path in Path().glob("*.protloc.*")} == {
        f"x.fasta{number}.protloc.{ending}" for number in ("", ".2") for ending in ("tsv", "csv")
    }


def test_a_folder_keeps_the_results_of_both_and_a_named_file_is_replaced(
    embedded: Embedded, tmp_path: Path
) -> None:
    file, folder = tmp_path / "x.fasta", tmp_path / "results"
    for number, text in enumerate((">a\nMKVLAAGIVG\n", ">b\nMKVLAAGIVGL\n"), start=1):
        file.write_text(text)
        embedded.answer("predict", file, "-o", f"{folder}/")
        embedded.answer("predict", file, "-o", tmp_path / "named.tsv")
        assert len(list(folder.iterdir())) == number
    assert (tmp_path / "named.tsv").read_text().splitlines()[1].startswith("b\t")


def test_pages_of_two_uploads_of_one_name_stand_beside_each_other(embedded: Embedded, tmp_path: Path) -> None:
    file = tmp_path / "x.fasta"
    for text in (">a\nMKVLAAGIVG\n", ">b\nMKVLAAGIVGL\n"):
        file.write_text(text)
        upload = embedded.answer("predict", file)["upload"]
        assert embedded.protloc("report", upload).exit_code == 0
    assert {path.name for path in Path().glob("*.html")} == {"x.fasta.protloc.html", "x.fasta.2.protloc.html"}


def test_results_are_written_through_a_link_that_stands_in_their_place(
    embedded: Embedded, tmp_path: Path
) -> None:
    file, elsewhere = tmp_path / "x.fasta", tmp_path / "elsewhere"
    file.write_text(">a\nMKVLAAGIVG\n")
    elsewhere.mkdir()
    Path("x.fasta.protloc.tsv").symlink_to(elsewhere / "kept.tsv")
    assert embedded.answer("predict", file)["output"] == "x.fasta.protloc.tsv"
    assert Path("x.fasta.protloc.tsv").is_symlink() and (elsewhere / "kept.tsv").read_text().count("\n") == 2
