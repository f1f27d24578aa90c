"""Checks the signature of a request, AWS's Signature Version 4, in a header or in the address (presigned).

Pure: the request as it was sent and the caller's secret in; `Refused` where the signature is not that of this
request. Canonical headers, paths and keys are botocore's own code, which signs at the other end:
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html, and for S3
https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-authenticating-requests.html.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import NamedTuple
from urllib.parse import parse_qsl, quote, unquote, unquote_plus

from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.compat import HTTPHeaders
from botocore.credentials import Credentials

from protloc.cloud import older_signatures

ALGORITHM = "AWS4-HMAC-SHA256"
TIMESTAMP = "%Y%m%dT%H%M%SZ"
# S3 allows 15 minutes between the clocks, the other services 5.
S3_SKEW, SKEW = timedelta(minutes=15), timedelta(minutes=5)
MAX_EXPIRES_SECONDS = 604_800

UNSIGNED = "UNSIGNED-PAYLOAD"
UNSIGNED_CHUNKS = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
SIGNED_CHUNKS = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
SIGNED_CHUNKS_AND_TRAILER = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
EMPTY_HASH = hashlib.sha256(b"").hexdigest()
HASH = re.compile("[0-9a-f]{64}")
# What makes an address presigned, of version 4 or of the older ones, which no service here takes.
IN_QUERY = {
    *("x-amz-algorithm", "x-amz-credential", "x-amz-date", "x-amz-expires", "x-amz-signedheaders"),
    *("x-amz-signature", "x-amz-security-token", "awsaccesskeyid", "signature"),
}
CHUNK = re.compile(rb"([0-9a-fA-F]{1,8});chunk-signature=([0-9a-f]{64})")

MISMATCH = (
    "The request signature we calculated does not match the signature you provided. "
    "Check your AWS Secret Access Key and signing method. Consult the service documentation for details."
)


class Refused(Exception):
    """A request that nobody who is known has signed; code and status as AWS answers them.

    Without a status, it is the one that the service's protocol has for the code.
    """

    def __init__(self, code: str, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.code, self.status = code, status


class Sent(NamedTuple):
    """A request as it came: nothing decoded, header names in small letters."""

    method: str
    path: str
    query: str
    headers: Sequence[tuple[str, str]]

    def header(self, name: str) -> str | None:
        return next((value for each, value in self.headers if each == name), None)


class Claim(NamedTuple):
    """The signature that a request carries, and the caller it names."""

    access_key: str
    day: str
    region: str
    service: str
    signed_headers: str
    signature: str
    timestamp: str
    token: str
    expires_seconds: int | None
    """None where the signature is in a header."""
    older: bool = False
    """True of an address of S3 that is presigned with version 2."""

    @property
    def presigned(self) -> bool:
        return self.expires_seconds is not None


def claim_of(sent: Sent) -> Claim:
    """The claim of a request. Raises `Refused` where it makes none, or not one that can be checked."""
    authorisations = [value for name, value in sent.headers if name == "authorization"]
    query = parse_qsl(sent.query, keep_blank_values=True)
    in_query = [name for name, _ in query if name.lower() in IN_QUERY]
    # Of two credentials, the services behind might take the one that was not checked here.
    if len(authorisations) + bool(in_query) > 1 or len({name.lower() for name in in_query}) < len(in_query):
        raise Refused("InvalidArgument", "Only one auth mechanism allowed", 400)
    if authorisations:
        return _in_header(sent, authorisations[0])
    if "Signature" in in_query:
        return _older(dict(query))
    if in_query:
        return _in_query(dict(query))
    raise Refused("MissingAuthenticationToken", "Request is missing Authentication Token")


def _in_header(sent: Sent, authorisation: str) -> Claim:
    algorithm, _, rest = authorisation.partition(" ")
    if algorithm != ALGORITHM:
        raise Refused("IncompleteSignature", f"Unsupported AWS 'algorithm': '{algorithm[:40]}'.")
    parts = [part.strip().partition("=")[::2] for part in rest.split(",")]
    fields = dict(parts)
    if len(parts) != 3:
        raise Refused("IncompleteSignature", "Authorization header requires exactly three parameters.")
    for name in ("Credential", "SignedHeaders", "Signature"):
        if not fields.get(name):
            raise Refused("IncompleteSignature", f"Authorization header requires '{name}' parameter.")
    timestamp = sent.header("x-amz-date") or _from_date(sent.header("date"))
    if not timestamp:
        text = "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header."
        raise Refused("IncompleteSignature", text)
    return Claim(
        *_scope(fields["Credential"]),
        fields["SignedHeaders"],
        fields["Signature"],
        timestamp,
        sent.header("x-amz-security-token") or "",
        None,
    )


def _in_query(query: dict[str, str]) -> Claim:
    names = ("X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Date", "X-Amz-SignedHeaders", "X-Amz-Signature")
    lacking = [name for name in names if not query.get(name)]
    if lacking or query["X-Amz-Algorithm"] != ALGORITHM:
        text = f"AWS query-string parameters must include '{(lacking or names)[0]}', of {ALGORITHM}."
        raise Refused("IncompleteSignature", text)
    scope = _scope(query["X-Amz-Credential"])
    # S3 demands a time; what is presigned for the others lasts as long as clocks may differ.
    expires = query.get("X-Amz-Expires") or (None if scope[3] == "s3" else str(int(SKEW.total_seconds())))
    if expires is None or not expires.isascii() or not expires.isdigit() or len(expires) > 6:
        raise Refused("AuthorizationQueryParametersError", "X-Amz-Expires should be a number", 400)
    if not 0 < int(expires) <= MAX_EXPIRES_SECONDS:
        text = "X-Amz-Expires must be less than a week (in seconds) that is 604800"
        raise Refused("AuthorizationQueryParametersError", text, 400)
    return Claim(
        *scope,
        query["X-Amz-SignedHeaders"],
        query["X-Amz-Signature"],
        query["X-Amz-Date"],
        query.get("X-Amz-Security-Token", ""),
        int(expires),
    )


def _older(query: dict[str, str]) -> Claim:
    key, expires = query.get("AWSAccessKeyId"), query.get("Expires", "")
    if not key or not expires.isascii() or not expires.isdigit() or len(expires) > 11:
        text = "Query-string authentication requires the Signature, Expires and AWSAccessKeyId parameters"
        raise Refused("AccessDenied", text, 403)
    token = next((value for name, value in query.items() if name.lower() == "x-amz-security-token"), "")
    return Claim(key, "", "", "s3", "", query["Signature"], "", token, int(expires), older=True)


def _scope(credential: str) -> tuple[str, str, str, str]:
    parts = credential.split("/")
    if len(parts) != 5 or not all(parts) or parts[4] != "aws4_request":
        text = "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term"
        raise Refused("IncompleteSignature", text)
    return parts[0], parts[1], parts[2], parts[3]


def _from_date(text: str | None) -> str | None:
    try:
        return parsedate_to_datetime(text or "").astimezone(UTC).strftime(TIMESTAMP)
    except (ValueError, OverflowError):
        return None


# ── The request ─────────────────────────────────────────────


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
    """Whether the signature covers the body with a hash that only the body can prove."""
    return _declared(sent, claim) not in (UNSIGNED, UNSIGNED_CHUNKS)


def check(sent: Sent, claim: Claim, secret: str, body: bytes | None) -> None:
    """Refuse a request that its claim's signature is not for. `body` is None where it was not read yet:
    then all is checked but the body, where the signature names the hash of that.
    """
    if claim.older:
        if not older_signatures.matches(sent.method, sent.path, sent.query, list(sent.headers), secret):
            raise Refused("SignatureDoesNotMatch", MISMATCH)
        return
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
    declared = _declared(sent, claim)
    if declared is None:
        if body is None:
            return
        declared = hashlib.sha256(body).hexdigest()
    signer = (S3SigV4Auth if claim.service == "s3" else SigV4Auth)(
        Credentials(claim.access_key, secret), claim.service, claim.region
    )
    request = AWSRequest()
    request.context["timestamp"] = claim.timestamp
    for path, query in _spellings(sent, claim, signer):
        canonical = "\n".join(
            (
                sent.method,
                path,
                query,
                signer.canonical_headers(headers) + "\n",
                signer.signed_headers(headers),
                declared,
            )
        )
        expected = signer.signature(signer.string_to_sign(request, canonical), request)
        if hmac.compare_digest(expected.encode(), claim.signature.encode()):
            break
    else:
        raise Refused("SignatureDoesNotMatch", MISMATCH)
    if body is not None:
        _check_body(sent, claim, signer, declared, body)


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


# ── The body ────────────────────────────────────────────────


def _check_body(sent: Sent, claim: Claim, signer: SigV4Auth, declared: str, body: bytes) -> None:
    if declared in (SIGNED_CHUNKS, SIGNED_CHUNKS_AND_TRAILER):
        _check_chunks(claim, signer, body, declared == SIGNED_CHUNKS_AND_TRAILER)
    elif declared not in (UNSIGNED, UNSIGNED_CHUNKS) and declared != hashlib.sha256(body).hexdigest():
        if claim.service == "s3":
            text = "The provided 'x-amz-content-sha256' header does not match what was computed."
            raise Refused("XAmzContentSHA256Mismatch", text, 400)
        raise Refused("SignatureDoesNotMatch", MISMATCH)


def _check_chunks(claim: Claim, signer: SigV4Auth, body: bytes, trailer: bool) -> None:
    """Each chunk's signature continues the one before:
    https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming.html, sigv4-streaming-trailers.html
    """
    request = AWSRequest()
    request.context["timestamp"] = claim.timestamp
    scope = signer.credential_scope(request)
    previous, position, size = claim.signature, 0, -1

    def check(given: str, kind: str, *hashes: str) -> str:
        text = "\n".join((f"{ALGORITHM}-{kind}", claim.timestamp, scope, previous, *hashes))
        if not hmac.compare_digest(signer.signature(text, request).encode(), given.encode()):
            raise Refused("SignatureDoesNotMatch", MISMATCH, 403)
        return given

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
        name, _, given = (lines.pop() if lines else b"").partition(b":")
        if name.strip().lower() != b"x-amz-trailer-signature":
            raise Refused("SignatureDoesNotMatch", MISMATCH, 403)
        signed = b"".join(line.strip() + b"\n" for line in lines)
        check(given.strip().decode("ascii", "replace"), "TRAILER", hashlib.sha256(signed).hexdigest())
    elif body[position:].strip(b"\r\n"):
        raise Refused("SignatureDoesNotMatch", MISMATCH, 403)
