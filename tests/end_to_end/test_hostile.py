"""Headers that somebody made to do harm, through the deployed stack and the command line."""

import json
import re
from pathlib import Path
from urllib.parse import quote

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.conftest import Embedded, from_tsv
from tests.functions.gateway import routes
from tests.hostile.conftest import hostile_fasta
from tests.hostile.corpus import FILE_NAMES, HEADERS, shown
from tests.hostile.test_api import METHODS, bodies, hostile, path_of, queries


def test_a_hostile_file_shows_as_a_table_and_leaves_no_word_in_a_log(
    embedded: Embedded, tmp_path: Path
) -> None:
    (tmp_path / "hostile.fasta").write_bytes(hostile_fasta())
    result = embedded.protloc("predict", "hostile.fasta", "--table", "-o", "rows.tsv")
    assert result.exit_code == 0, result.output
    assert (result.stdout + result.stderr).replace("\n", "").isprintable()
    assert len(from_tsv(Path("rows.tsv").read_text())) == 1 + 2 * len(HEADERS)
    logs = embedded.client.client("logs")
    words = re.compile("alert|jndi|etc/passwd|DROP TABLE|xxxx|MKVL|AAAA|" + "|".join("ΩРש蛋🧬"))
    lines = 0
    for group in logs.describe_log_groups()["logGroups"]:
        for page in logs.get_paginator("filter_log_events").paginate(logGroupName=group["logGroupName"]):
            for event in page["events"]:
                lines += 1
                assert not words.search(event["message"]), event
    assert lines > 50
    assert not words.search((embedded.home / "cloud.log").read_text(errors="replace"))


def test_files_of_any_name_are_shown_and_written_back(embedded: Embedded, tmp_path: Path) -> None:
    for name in FILE_NAMES:
        (tmp_path / name.replace("/", "_")).write_bytes(b">P1\nMKVLAAGIVG\n")
        upload = embedded.answer("predict", name.replace("/", "_"), "--output", "rows.tsv")["upload"]
        for command in (("show", upload), ("uploads",), ("results", upload)):
            result = embedded.protloc(*command)
            assert result.exit_code == 0 and result.output.replace("\n", "").isprintable(), result.output
    assert len(list(tmp_path.glob("*.protloc.tsv"))) == len(FILE_NAMES)


def test_an_accession_is_asked_for_as_it_is(embedded: Embedded, tmp_path: Path) -> None:
    names = (
        "slash",
        "slashes",
        "question",
        "hash",
        "percent",
        "per cent alone",
        "plus as blank",
        "address",
        "emoji",
    )
    accessions = [shown(HEADERS[name]).split()[0] for name in names]
    (tmp_path / "named.fasta").write_text("".join(f">{accession}\nMKVLAAGIVG\n" for accession in accessions))
    upload = embedded.answer("predict", "named.fasta")["upload"]
    for accession in accessions:
        status, answer, _ = embedded.client.api.get(f"/proteins/{quote(accession, safe='')}")
        assert status == 200, (accession, status, answer)
        answered_accessions = [row["accession"] for row in answer["predictions"] if row["upload"] == upload]
        assert answered_accessions == [accession], json.dumps(answer)


@settings(max_examples=150, derandomize=True, suppress_health_check=list(HealthCheck))
@given(
    st.sampled_from(routes()),
    st.sampled_from(["", "", "", *METHODS]),
    st.tuples(hostile, hostile),
    queries,
    bodies,
)
@example(("PUT", "/models/active"), "", ("a", "a"), {}, "[" * 100_000)
@example(("PUT", "/uploads/{upload}/attempts/{attempt}"), "", ("a", "9" * 5000), {}, "")
@example(("PUT", "/uploads/{upload}/attempts/{attempt}"), "", ("x" * 3000, "2"), {}, "")
def test_no_signed_request_is_an_error_of_the_server(
    embedded: Embedded,
    route: tuple[str, str],
    method: str,
    filled: tuple[str, str],
    query: dict[str, str],
    body: str,
) -> None:
    """As `tests/hostile/test_api.py`, but through the gate, the gateway and the functions as they are deployed."""
    client = embedded.client
    parameters = "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in query.items())
    url = (
        client.api_url
        + path_of(route[1], [each or "a" for each in filled])
        + (f"?{parameters}" if parameters else "")
    )
    method = method or route[0]
    content = None if method in ("GET", "HEAD") else body.encode("utf-8", "surrogatepass")
    request = AWSRequest(method, url, headers={"Content-Type": "application/json"}, data=content)
    SigV4Auth(client.api._session.get_credentials(), "execute-api", client.region).add_auth(request)
    assert client.api._http.send(request.prepare()).status_code < 500
