"""The clients of the functions: how often each asks, counted in requests on the wire."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from functions.domain.errors import EndpointUnavailable
from functions.services import services
from functions.services.clients import client
from functions.services.hosting import Hosting
from functions.services.settings import from_environment


class Refusing(ThreadingHTTPServer):
    """Answers every request with 503 and counts them."""

    def __init__(self) -> None:
        self.requests: list[str] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def _refuse(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                server.requests.append(self.path)
                self.send_response(503)
                self.send_header("Content-Length", "0")
                self.end_headers()

            do_GET = do_POST = _refuse  # noqa: N815

            def log_message(self, *_: Any) -> None:
                pass

        super().__init__(("127.0.0.1", 0), Handler)


@pytest.fixture
def refusing(monkeypatch: pytest.MonkeyPatch) -> Iterator[Refusing]:
    server = Refusing()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda *_: 0)
    monkeypatch.setenv("RESULTS_BUCKET", "results")
    monkeypatch.setenv("ENDPOINT_NAME", "stack")
    from_environment.cache_clear()
    services.cache_clear()
    yield server
    from_environment.cache_clear()
    services.cache_clear()
    server.shutdown()
    server.server_close()


def test_a_client_is_made_when_it_is_used(refusing: Refusing, monkeypatch: pytest.MonkeyPatch) -> None:
    """A handler that starts cold pays for those alone that its path needs."""
    made: list[str] = []

    def noted(service: str, config: Config) -> Any:
        made.append(service)
        return client(service, config)

    monkeypatch.setattr("functions.services.client", noted)
    aws = services()
    assert made == []
    for _ in range(2):
        with pytest.raises(ClientError):
            aws.shards_queue.send({"upload": "u"})
    assert made == ["sqs"]


def test_the_model_is_asked_once(refusing: Refusing) -> None:
    """It may be at work on the first request still, and a second would double it."""
    with pytest.raises(EndpointUnavailable):
        services().endpoint.invoke(["MKV"], component="stack-m-1", model_version="m-1")
    assert len(refusing.requests) == 1


def test_other_services_are_asked_five_times(refusing: Refusing) -> None:
    with pytest.raises(ClientError):
        services().storage.get("parts/a")
    assert len(refusing.requests) == 5
    refusing.requests.clear()
    with pytest.raises(ClientError):
        Hosting.connect().sagemaker.delete_model(ModelName="m")
    assert len(refusing.requests) == 5


@pytest.mark.parametrize("region", ["us-east-1", "us-west-2", "eu-west-1", "ap-southeast-3", "cn-north-1"])
def test_a_link_is_signed_with_version_4_for_the_regions_own_host(
    region: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", region)
    monkeypatch.setenv("RESULTS_BUCKET", "results")
    from_environment.cache_clear()
    services.cache_clear()
    link = urlsplit(services().storage.link("results/a/results.tsv", 900))
    from_environment.cache_clear()
    services.cache_clear()
    domain = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
    assert (link.netloc, link.path) == (f"results.s3.{region}.{domain}", "/results/a/results.tsv")
    query = dict(parse_qsl(link.query))
    assert query["X-Amz-Algorithm"] == "AWS4-HMAC-SHA256"
    assert query["X-Amz-Credential"].split("/")[2:] == [region, "s3", "aws4_request"]


def test_a_link_of_the_embedded_cloud_names_the_bucket_in_its_path(refusing: Refusing) -> None:
    link = urlsplit(services().storage.link("results/a", 900))
    assert (link.netloc, link.path) == (f"127.0.0.1:{refusing.server_port}", "/results/results/a")
