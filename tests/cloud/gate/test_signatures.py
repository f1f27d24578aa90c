"""A request passes as its client signed it, and does not if anything is changed afterwards."""

from __future__ import annotations

import hashlib
import io
import string
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from urllib.parse import quote, urlsplit

import pytest
from botocore.auth import (
    HmacV1QueryAuth,
    S3SigV4Auth,
    S3SigV4QueryAuth,
    SigV4Auth,
    SigV4QueryAuth,
)
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given
from hypothesis import strategies as st

from protloc.cloud.gate.claims import Claim, Refused, Sent, claim_of
from protloc.cloud.gate.signatures import check, check_body, check_time

KEY, SECRET = "AKIA" + 2 * "EXAMPLE" + "22", "a-secret"  # pragma: allowlist secret
HOST = "127.0.0.1:20000"

texts = st.text(string.ascii_letters + string.digits + " /+=&%?~é*'(),;:@", max_size=20)
# As long as clients send them: they trim the ends, and no header holds a line end.
values = st.text(string.ascii_letters + string.digits + "-./=;", min_size=1, max_size=20)


def signed(
    signer: type[SigV4Auth] | type[HmacV1QueryAuth],
    service: str,
    method: str = "GET",
    path: str = "/",
    query: dict[str, str] | None = None,
    headers: dict[str, str] | None = None,
    body: bytes = b"",
) -> Sent:
    """A request as botocore signs and sends it."""
    address = quote(path, safe="/-_.~")
    parameters = "&".join(
        f"{quote(k, safe='-_.~')}={quote(v, safe='-_.~')}" for k, v in (query or {}).items()
    )
    url = f"http://{HOST}{address}" + (f"?{parameters}" if parameters else "")
    request = AWSRequest(method, url, headers=headers or {}, data=io.BytesIO(body) if body else None)
    credentials = Credentials(KEY, SECRET)
    if issubclass(signer, HmacV1QueryAuth):
        signer(credentials).add_auth(request)
    elif issubclass(signer, SigV4QueryAuth):
        signer(credentials, service, "us-east-1", 60).add_auth(request)
    else:
        signer(credentials, service, "us-east-1").add_auth(request)
    parts = urlsplit(request.url)
    sent = [(name.lower(), value) for name, value in request.headers.items()]
    return Sent(method, parts.path, parts.query, [*sent, ("host", HOST)])


def admit(sent: Sent, body: bytes = b"", secret: str = SECRET) -> Claim:
    claim = claim_of(sent)
    if claim.access_key != KEY:
        raise Refused("InvalidClientTokenId", "nobody has this key")
    check_time(claim, datetime.now(UTC))
    check(sent, claim, secret)
    check_body(sent, claim, secret, body)
    return claim


SIGNERS = [(SigV4Auth, "sqs"), (SigV4Auth, "execute-api"), (S3SigV4Auth, "s3")]
PRESIGNERS = [(SigV4QueryAuth, "execute-api"), (S3SigV4QueryAuth, "s3"), (HmacV1QueryAuth, "s3")]


@given(
    st.sampled_from(SIGNERS),
    st.sampled_from(["GET", "PUT", "POST", "DELETE"]),
    texts,
    st.dictionaries(st.text(string.ascii_letters, min_size=1, max_size=8), texts, max_size=4),
    values,
    st.binary(max_size=50),
)
def test_a_request_passes_as_botocore_signed_it_and_not_once_it_is_changed(
    signer: tuple[type[SigV4Auth], str],
    method: str,
    path: str,
    query: dict[str, str],
    value: str,
    body: bytes,
) -> None:
    headers = {"Content-Type": "a/b", "X-Amz-Target": value}
    sent = signed(*signer, method, f"/{path}", query, headers, body)
    assert admit(sent, body).access_key == KEY
    changed: list[tuple[Sent, bytes, str]] = [
        (sent, body + b"x", SECRET),
        (sent, body, SECRET + "x"),
        (sent._replace(method="PATCH"), body, SECRET),
        (sent._replace(path=sent.path + "x"), body, SECRET),
        (sent._replace(query=f"{sent.query}&new=1"), body, SECRET),
        (with_header(sent, "x-amz-target", value + "x"), body, SECRET),
        (with_header(sent, "content-type", "a/c"), body, SECRET),
        (with_header(sent, "host", "127.0.0.1:20001"), body, SECRET),
        (with_header(sent, "x-amz-security-token", "more"), body, SECRET),
        (with_header(sent, "x-amz-new", "more"), body, SECRET),
        (without_header(sent, "x-amz-target"), body, SECRET),
        *((with_header(sent, "authorization", each), body, SECRET) for each in falsified(sent)),
    ]
    for request, content, secret in changed:
        with pytest.raises(Refused):
            admit(request, content, secret)


@given(st.sampled_from(PRESIGNERS), st.sampled_from(["GET", "PUT"]), texts, st.integers(0, 10_000))
def test_an_address_that_botocore_presigns_passes_and_none_that_was_changed(
    signer: tuple[type[SigV4QueryAuth], str], method: str, path: str, place: int
) -> None:
    sent = signed(*signer, method, f"/bucket/{path}", {"versionId": "v/1"})
    assert admit(sent).access_key == KEY
    place %= len(sent.query)
    letter = "A" if sent.query[place] != "A" else "B"
    altered = sent.query[:place] + letter + sent.query[place + 1 :]
    for changed in (
        sent._replace(method="DELETE"),
        sent._replace(path=sent.path + "x"),
        sent._replace(query=sent.query + "&more=1"),
        sent._replace(query=altered),
        with_header(sent, "x-amz-acl", "public-read"),
    ):
        with pytest.raises(Refused):
            admit(changed)


def with_header(sent: Sent, name: str, value: str) -> Sent:
    return sent._replace(headers=[*((k, v) for k, v in sent.headers if k != name), (name, value)])


def without_header(sent: Sent, name: str) -> Sent:
    return sent._replace(headers=[(k, v) for k, v in sent.headers if k != name])


def falsified(sent: Sent) -> list[str]:
    """Authorization headers that are nearly the one that was sent."""
    header = sent.header("authorization") or ""
    start, _, signature = header.rpartition("Signature=")
    other = ("1" if signature[0] == "0" else "0") + signature[1:]
    return [
        "",
        "AWS4-HMAC-SHA256",
        start + "Signature=",
        start + "Signature=0",
        start + "Signature=" + other,
        start + "Signature=" + signature[:-1],
        start + "Signature=" + signature.upper() + "é",
        header.replace("Credential=", "XCredential=other/1/2/3/aws4_request, Credential="),
        header.replace("us-east-1", "eu-west-1"),
        header.replace("host;", ""),
        header.replace("aws4_request", "aws4"),
        header.replace("AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256"),
        header.replace("Credential=", "Credential=/"),
    ]


def code_of(call: Callable[[], object]) -> str:
    with pytest.raises(Refused) as refused:
        call()
    return refused.value.code


def test_a_request_without_a_signature_is_refused() -> None:
    assert code_of(lambda: claim_of(Sent("GET", "/", "", [("host", HOST)]))) == "MissingAuthenticationToken"


def test_a_request_with_two_credentials_is_refused() -> None:
    sent = signed(SigV4Auth, "sqs")
    for query in ("X-Amz-Credential=a", "AWSAccessKeyId=a", "x-amz-algorithm=AWS4-HMAC-SHA256"):
        assert code_of(lambda q=query: claim_of(sent._replace(query=q))) == "InvalidArgument"  # type: ignore[misc]
    presigned = signed(S3SigV4QueryAuth, "s3")
    twice = presigned._replace(query="x-amz-credential=other/1/2/s3/aws4_request&" + presigned.query)
    assert code_of(lambda: claim_of(twice)) == "InvalidArgument"


@pytest.mark.parametrize(
    ("service", "signer", "minutes", "code"),
    [
        ("s3", S3SigV4Auth, 14, ""),
        ("s3", S3SigV4Auth, 16, "RequestTimeTooSkewed"),
        ("sqs", SigV4Auth, 4, ""),
        ("sqs", SigV4Auth, 6, "SignatureDoesNotMatch"),
    ],
)
@pytest.mark.parametrize("direction", [-1, 1])
def test_clocks_may_differ_by_as_much_as_each_service_allows(
    service: str, signer: type[SigV4Auth], minutes: int, code: str, direction: int
) -> None:
    claim = claim_of(signed(signer, service))
    now = datetime.now(UTC) + direction * timedelta(minutes=minutes)
    if code:
        assert code_of(lambda: check_time(claim, now)) == code
    else:
        check_time(claim, now)


@pytest.mark.parametrize("signer", [S3SigV4QueryAuth, HmacV1QueryAuth])
def test_a_presigned_address_ends(signer: type[S3SigV4QueryAuth]) -> None:
    claim = claim_of(signed(signer, "s3"))
    assert code_of(lambda: check_time(claim, datetime.now(UTC) + timedelta(hours=2))) == "AccessDenied"


def test_a_presigned_address_lasts_a_week_at_most() -> None:
    sent = signed(S3SigV4QueryAuth, "s3")
    for seconds in ("604801", "0", "-1", "1e3", "", "9" * 5000, "٣"):
        changed = sent._replace(
            query=sent.query.replace("X-Amz-Expires=60", f"X-Amz-Expires={quote(seconds)}")
        )
        assert code_of(lambda c=changed: claim_of(c)) == "AuthorizationQueryParametersError"  # type: ignore[misc]


# ── Chunks, each signed: https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming.html ──────────────────


def chunked(parts: list[bytes], trailer: bool) -> tuple[Sent, bytes]:
    """An upload as AWS's other SDKs send it over plain HTTP."""
    kind = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD" + ("-TRAILER" if trailer else "")

    class Signer(S3SigV4Auth):
        def payload(self, request: AWSRequest) -> str:
            return kind

    sent = signed(Signer, "s3", "PUT", "/bucket/key", headers={"Content-Encoding": "aws-chunked"})
    claim = claim_of(sent)
    signer = SigV4Auth(Credentials(KEY, SECRET), "s3", "us-east-1")
    request = AWSRequest()
    request.context["timestamp"] = claim.timestamp
    scope, previous, body = signer.credential_scope(request), claim.signature, b""
    empty = hashlib.sha256(b"").hexdigest()
    for part in [*parts, b""]:
        hashed = hashlib.sha256(part).hexdigest()
        text = "\n".join(("AWS4-HMAC-SHA256-PAYLOAD", claim.timestamp, scope, previous, empty, hashed))
        previous = signer.signature(text, request)
        body += f"{len(part):x};chunk-signature={previous}\r\n".encode() + part + (b"\r\n" if part else b"")
    if trailer:
        line = b"x-amz-checksum-crc32:AAAAAA=="
        hashed = hashlib.sha256(line + b"\n").hexdigest()
        text = "\n".join(("AWS4-HMAC-SHA256-TRAILER", claim.timestamp, scope, previous, hashed))
        body += line + f"\r\nx-amz-trailer-signature:{signer.signature(text, request)}\r\n".encode()
    return sent, body + b"\r\n"


@given(st.lists(st.binary(min_size=1, max_size=30), max_size=4), st.booleans(), st.data())
def test_signed_chunks_pass_and_none_that_were_changed(
    parts: list[bytes], trailer: bool, data: st.DataObject
) -> None:
    sent, body = chunked(parts, trailer)
    admit(sent, body)
    place = data.draw(st.integers(0, len(body.rstrip(b"\r\n")) - 1))
    if body[place : place + 1] not in b"\r\n":
        changed = body[:place] + bytes([body[place] ^ 1]) + body[place + 1 :]
        with pytest.raises(Refused):
            admit(sent, changed)
    for cut in (body[:place], body + b"more"):
        with pytest.raises(Refused):
            admit(sent, cut)


def test_a_body_that_goes_unsigned_is_for_s3_alone() -> None:
    for kind in ("UNSIGNED-PAYLOAD", "STREAMING-UNSIGNED-PAYLOAD-TRAILER"):
        sent = signed(SigV4Auth, "sqs", "POST", headers={"X-Amz-Content-SHA256": kind}, body=b"a")
        assert code_of(lambda s=sent: admit(s, b"a")) == "SignatureDoesNotMatch"  # type: ignore[misc]

    class Signer(S3SigV4Auth):
        def payload(self, request: AWSRequest) -> str:
            return "anything"

    assert code_of(lambda: admit(signed(Signer, "s3"))) == "InvalidArgument"
