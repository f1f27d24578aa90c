"""Checks the signature of a request, AWS's Signature Version 4, in a header or in the address (presigned).

Pure: the request as it was sent, its claim and the caller's secret in; `Refused` where the signature is not
that of this request. Canonical headers, paths and keys are botocore's own code, which signs at the other end:
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html, and for S3
https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-authenticating-requests.html.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from urllib.parse import quote, unquote, unquote_plus

from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.compat import HTTPHeaders
from botocore.credentials import Credentials

from protloc.cloud.gate import older_signatures
from protloc.cloud.gate.claims import ALGORITHM, TIMESTAMP, Claim, Refused, Sent

# S3 allows 15 minutes between the clocks, the other services 5.
S3_SKEW, SKEW = timedelta(minutes=15), timedelta(minutes=5)

UNSIGNED = "UNSIGNED-PAYLOAD"
UNSIGNED_CHUNKS = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
SIGNED_CHUNKS = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
SIGNED_CHUNKS_AND_TRAILER = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
EMPTY_HASH = hashlib.sha256(b"").hexdigest()
HASH = re.compile("[0-9a-f]{64}")
CHUNK = re.compile(rb"([0-9a-fA-F]{1,8});chunk-signature=([0-9a-f]{64})")

MISMATCH = (
    "The request signature we calculated does not match the signature you provided. "
    "Check your AWS Secret Access Key and signing method. Consult the service documentation for details."
)


def check_time(claim: Claim, now: datetime) -> None:
    """Refuse a signature that is too old, or not valid yet."""
    if claim.older:
        if now.timestamp() > (claim.expires_seconds or 0):
            raise Refused("AccessDenied", "Request has expired", 403)
        return
    try:
        signed = datetime.strptime(claim.timestamp, TIMESTAMP).replace(tzinfo=UTC)
    except ValueError:
        raise Refused("IncompleteSignature", "Date must be in ISO-8601 'basic format'.") from None
    if claim.timestamp[:8] != claim.day:
        text = "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP."
        raise Refused("SignatureDoesNotMatch", text)
    skew = S3_SKEW if claim.service == "s3" else SKEW
    if claim.expires_seconds is not None:
        if now > signed + timedelta(seconds=claim.expires_seconds):
            raise Refused("AccessDenied", "Request has expired", 403)
        if signed > now + skew:
            raise Refused("AccessDenied", "Request is not yet valid", 403)
    elif abs(now - signed) > skew:
        if claim.service == "s3":
            text = "The difference between the request time and the current time is too large."
            raise Refused("RequestTimeTooSkewed", text, 403)
        raise Refused("SignatureDoesNotMatch", f"Signature expired or not yet current: {claim.timestamp}")


def body_must_be_read(sent: Sent, claim: Claim) -> bool:
    """True if the signature covers the body with a hash that only the body can prove."""
    return _declared(sent, claim) not in (UNSIGNED, UNSIGNED_CHUNKS)


def check(sent: Sent, claim: Claim, secret: str) -> None:
    """Refuse a request that its claim's signature is not for: all of it but the body.

    Where the signature names no hash of the body, `check_body` alone can tell.
    """
    if claim.older:
        if not older_signatures.matches(sent.method, sent.path, sent.query, list(sent.headers), secret):
            raise Refused("SignatureDoesNotMatch", MISMATCH)
        return
    declared = _declared(sent, claim)
    if declared is not None:
        _check_hash(sent, claim, signer_of(claim, secret), declared)


def check_body(sent: Sent, claim: Claim, secret: str, body: bytes) -> None:
    """Refuse a body that the signature, which `check` found to be the request's, is not for."""
    if not body_must_be_read(sent, claim):
        return
    declared, signer = _declared(sent, claim), signer_of(claim, secret)
    if declared in (SIGNED_CHUNKS, SIGNED_CHUNKS_AND_TRAILER):
        _check_chunks(claim, signer, body, declared == SIGNED_CHUNKS_AND_TRAILER)
        return
    digest = hashlib.sha256(body).hexdigest()
    if declared is None:
        _check_hash(sent, claim, signer, digest)
    elif declared != digest:
        if claim.service == "s3":
            text = "The provided 'x-amz-content-sha256' header does not match what was computed."
            raise Refused("XAmzContentSHA256Mismatch", text, 400)
        raise Refused("SignatureDoesNotMatch", MISMATCH)


def signer_of(claim: Claim, secret: str) -> SigV4Auth:
    signer = S3SigV4Auth if claim.service == "s3" else SigV4Auth
    return signer(Credentials(claim.access_key, secret), claim.service, claim.region)


def _check_hash(sent: Sent, claim: Claim, signer: SigV4Auth, payload: str) -> None:
    """Refuse a request whose signature is another with this hash of its body, or its stand-in."""
    names = claim.signed_headers.split(";")
    headers = HTTPHeaders()
    for name, value in sent.headers:
        if name in names:
            headers[name] = value
        elif name.startswith("x-amz-"):
            text = f"There were headers present in the request which were not signed: {name}"
            raise Refused("AccessDenied" if claim.service == "s3" else "SignatureDoesNotMatch", text)
    if "host" not in names or not all(name in headers for name in names):
        raise Refused("SignatureDoesNotMatch", MISMATCH)
    canonical_headers, signed = signer.canonical_headers(headers) + "\n", signer.signed_headers(headers)
    request = AWSRequest()
    request.context["timestamp"] = claim.timestamp
    for path, query in _spellings(sent, claim, signer):
        canonical = "\n".join((sent.method, path, query, canonical_headers, signed, payload))
        expected = signer.signature(signer.string_to_sign(request, canonical), request)
        if hmac.compare_digest(expected.encode(), claim.signature.encode()):
            return
    raise Refused("SignatureDoesNotMatch", MISMATCH)


def _declared(sent: Sent, claim: Claim) -> str | None:
    """The hash of the body, or its stand-in, as the signature has it; None where it is the body's own."""
    if claim.older:
        return UNSIGNED
    declared = sent.header("x-amz-content-sha256")
    if claim.service != "s3":
        return declared if declared is not None and HASH.fullmatch(declared) else None
    if declared is None:
        return UNSIGNED if claim.presigned else None
    if HASH.fullmatch(declared) or declared in (
        UNSIGNED,
        UNSIGNED_CHUNKS,
        SIGNED_CHUNKS,
        SIGNED_CHUNKS_AND_TRAILER,
    ):
        return declared
    text = f"x-amz-content-sha256 must be {UNSIGNED}, {UNSIGNED_CHUNKS}, {SIGNED_CHUNKS}, or a sha256 value."
    raise Refused("InvalidArgument", text, 400)


def _spellings(sent: Sent, claim: Claim, signer: SigV4Auth) -> Iterator[tuple[str, str]]:
    """Path and query as clients sign them: as they are sent, and encoded anew, as AWS does."""
    pairs = [pair for pair in sent.query.split("&") if pair] if sent.query else []
    named = [pair.partition("=")[::2] for pair in pairs]
    if claim.presigned:
        named = [(name, value) for name, value in named if name != "X-Amz-Signature"]

    def joined(values: list[tuple[str, str]]) -> str:
        return "&".join(f"{name}={value}" for name, value in sorted(values))

    path = str(signer._normalize_url_path(sent.path))  # type: ignore[attr-defined]
    encoded = [tuple(quote(unquote_plus(each), safe="-_.~") for each in pair) for pair in named]
    again = quote(unquote(sent.path), safe="/-_.~") if claim.service == "s3" else path
    spellings = [(path, joined(named)), (again, joined([(name, value) for name, value in encoded]))]
    yield from dict.fromkeys(spellings)


# ── Chunks ──────────────────────────────────────────────────


def _check_chunks(claim: Claim, signer: SigV4Auth, body: bytes, trailer: bool) -> None:
    """Each chunk's signature continues the one before:
    https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming.html, sigv4-streaming-trailers.html
    """
    request = AWSRequest()
    request.context["timestamp"] = claim.timestamp
    scope = signer.credential_scope(request)
    previous, position, size = claim.signature, 0, -1

    def check(signature: str, kind: str, *hashes: str) -> str:
        text = "\n".join((f"{ALGORITHM}-{kind}", claim.timestamp, scope, previous, *hashes))
        if not hmac.compare_digest(signer.signature(text, request).encode(), signature.encode()):
            raise Refused("SignatureDoesNotMatch", MISMATCH, 403)
        return signature

    while size != 0:
        end = body.find(b"\r\n", position)
        head = CHUNK.fullmatch(body[position:end]) if end >= 0 else None
        if head is None:
            raise Refused("IncompleteBody", "The request body terminated unexpectedly", 400)
        size = int(head[1], 16)
        chunk = body[end + 2 : end + 2 + size]
        previous = check(head[2].decode(), "PAYLOAD", EMPTY_HASH, hashlib.sha256(chunk).hexdigest())
        position = end + 2 + size
        if size and body[position : position + 2] != b"\r\n":
            raise Refused("IncompleteBody", "The request body terminated unexpectedly", 400)
        position += 2 if size else 0
    if trailer:
        lines = [line for line in re.split(b"\r?\n", body[position:]) if line]
        name, _, signature = (lines.pop() if lines else b"").partition(b":")
        if name.strip().lower() != b"x-amz-trailer-signature":
            raise Refused("SignatureDoesNotMatch", MISMATCH, 403)
        signed = b"".join(line.strip() + b"\n" for line in lines)
        check(signature.strip().decode("ascii", "replace"), "TRAILER", hashlib.sha256(signed).hexdigest())
    elif body[position:].strip(b"\r\n"):
        raise Refused("SignatureDoesNotMatch", MISMATCH, 403)
