"""A file sent over HTTP alone: a form of the API, taken by S3, and answers that are problems when refused."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
import uuid
from typing import Any

from tests.conftest import SAMPLE, Embedded
from tests.waiting import LIMIT_SECONDS, until

OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def send(form: dict[str, Any], body: bytes, **changed: str) -> tuple[int, bytes]:
    """Send a file by a form with some fields changed; gives the status and body of S3's response."""
    boundary = uuid.uuid4().hex
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in {**form["fields"], **changed}.items()
    ]
    parts.append(
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="x"\r\n\r\n'.encode()
    )
    parts += [body, f"\r\n--{boundary}--\r\n".encode()]
    kind = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
    return opened(urllib.request.Request(form["url"], b"".join(parts), kind))[:2]


def opened(request: urllib.request.Request) -> tuple[int, bytes, Any]:
    try:
        with OPENER.open(request) as answer:
            return answer.status, answer.read(), answer.headers
    except urllib.error.HTTPError as refused:
        return refused.code, refused.read(), refused.headers


def test_a_file_is_sent_by_a_form_and_answered(embedded: Embedded) -> None:
    client = embedded.client
    status, form, _ = client.api.ask("POST", "/uploads", {"name": "sent.fasta", "organism": "Homo sapiens"})
    assert status == 201
    assert client.api.get(f"/submissions/{form['submission']}")[0] == 404
    assert send(form, SAMPLE.read_bytes())[0] == 204
    upload = until(lambda: client.api.get(f"/submissions/{form['submission']}")[1].get("upload"))
    view = client.wait(upload, lambda _: None, LIMIT_SECONDS)
    assert (view["status"], view["records"], view["key"]) == ("complete", 47, form["fields"]["key"])


def test_a_form_takes_nothing_but_what_it_was_made_for(embedded: Embedded) -> None:
    form = embedded.client.api.ask("POST", "/uploads", {"name": "once.fasta"})[1]
    for changed, code in (
        ({"key": "labels/mine.tsv"}, b"AccessDenied"),
        ({"x-amz-meta-organism": "bacteria"}, b"AccessDenied"),
        ({"x-amz-signature": "0" * 64}, b"SignatureDoesNotMatch"),
        ({"policy": form["fields"]["policy"][::-1]}, b"SignatureDoesNotMatch"),
    ):
        status, body = send(form, b">a\nMKV\n", **changed)
        assert status == 403 and code in body, changed
    status, body = send(form, b"")
    assert status == 400 and b"EntityTooSmall" in body
    submission = f"/submissions/{form['submission']}"
    assert embedded.client.api.get(submission)[0] == 404


def test_what_the_gateway_refuses_is_a_problem(embedded: Embedded) -> None:
    """Without a signature, with one that is wrong, and of a path that there is not."""
    url = embedded.client.api_url
    wrong = (
        "AWS4-HMAC-SHA256 Credential=AKIDNOBODY/20261126/us-east-1/execute-api/aws4_request, SignedHeaders=host;x-amz-date, Signature="
        + "0" * 64
    )
    for headers in ({}, {"Authorization": wrong, "X-Amz-Date": "20261126T000000Z"}):
        status, body, answered = opened(urllib.request.Request(f"{url}/uploads", headers=headers))
        problem = json.loads(body)
        assert status == 403 and answered["Content-Type"] == "application/problem+json"
        assert problem["type"] == "about:blank" and problem["title"] and problem["detail"]
    status, problem, _ = embedded.client.api.get("/nothing/here")
    assert (status, problem["status"], problem["title"]) == (403, 403, "Forbidden")
