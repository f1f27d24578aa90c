"""The claim of a request: which caller signed it, when and how, in a header or in its address.

Pure, and checks nothing but that there is exactly one claim, whole; `signatures` checks whether it holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import NamedTuple
from urllib.parse import parse_qsl

ALGORITHM = "AWS4-HMAC-SHA256"
TIMESTAMP = "%Y%m%dT%H%M%SZ"
MAX_EXPIRES_SECONDS = 604_800
# Of an address presigned for another service than S3, unless it has its own.
EXPIRES_SECONDS = 300
# Parameters of a presigned address, of version 4 or of the older ones.
IN_QUERY = {
    *("x-amz-algorithm", "x-amz-credential", "x-amz-date", "x-amz-expires", "x-amz-signedheaders"),
    *("x-amz-signature", "x-amz-security-token", "awsaccesskeyid", "signature"),
}


class Refused(Exception):
    """A request that no known key has signed; code and status as AWS answers them.

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
    # S3 demands a time; an address for the others lasts as long as clocks may differ.
    expires = query.get("X-Amz-Expires") or (None if scope[3] == "s3" else str(EXPIRES_SECONDS))
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
