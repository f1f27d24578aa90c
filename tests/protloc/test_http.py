"""The API as a script asks it: pages are walked and results fetched by clients that know nothing of protloc."""

import json
import subprocess
from urllib.parse import urljoin

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.httpsession import URLLib3Session

from functions.domain.rows import COLUMNS
from protloc.cloud import connection
from tests.conftest import SAMPLE, Embedded

CURL = ("curl", "--silent", "--show-error", "--fail", "--aws-sigv4", "aws:amz:us-east-1:execute-api")


@pytest.fixture(scope="module")
def upload(embedded: Embedded, tmp_path_factory: pytest.TempPathFactory) -> str:
    output = tmp_path_factory.mktemp("results") / "sample.tsv"
    return str(embedded.answer("predict", SAMPLE, "-o", output)["upload"])


def curl(embedded: Embedded, address: str, *words: str) -> bytes:
    """Ask with curl, as docs/bioinformatician.md does; the address is none of this machine's proxies'."""
    keys = connection.Cloud(0, 0, embedded.home).keys
    command = [*CURL, "--noproxy", "*", "--user", f"{keys.access_key}:{keys.secret_key}", *words, address]
    return subprocess.run(command, check=True, capture_output=True).stdout


def test_pages_are_walked_by_their_links_alone(embedded: Embedded, upload: str) -> None:
    address: str | None = f"{embedded.client.api_url}/uploads/{upload}/predictions?size=10&status=predicted"
    rows, pages = [], 0
    while address:
        request = AWSRequest("GET", address)
        SigV4Auth(embedded.client.api._session.get_credentials(), "execute-api", "us-east-1").add_auth(
            request
        )
        answer = URLLib3Session().send(request.prepare())
        assert answer.status_code == 200, answer.text
        rows += json.loads(answer.text)["predictions"]
        link = answer.headers.get("Link")
        address = urljoin(address, link.partition(">")[0].removeprefix("<")) if link else None
        pages += 1
    assert (len(rows), pages) == (46, 5)


def test_curl_follows_the_link_to_the_results(embedded: Embedded, upload: str) -> None:
    body = curl(embedded, f"{embedded.client.api_url}/uploads/{upload}/results?format=tsv", "--location")
    lines = body.decode().splitlines()
    assert tuple(lines[0].split("\t")) == COLUMNS and len(lines) == 48


def test_a_client_that_sends_its_signature_along_reads_what_the_link_names_and_no_more(
    embedded: Embedded, upload: str
) -> None:
    address = f"{embedded.client.api_url}/uploads/{upload}/results"
    link = curl(embedded, address, "--output", "/dev/null", "--write-out", "%{redirect_url}").decode()
    keys = embedded.client.api._session.get_credentials()
    for other, status in ((link, 200), (link.replace("results.tsv", "results.jsonl"), 403)):
        request = AWSRequest("GET", other)
        SigV4Auth(keys, "execute-api", "us-east-1").add_auth(request)
        assert URLLib3Session().send(request.prepare()).status_code == status
