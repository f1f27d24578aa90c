"""A form that a browser or a program sends to S3: its signature stands in fields of the form, over a policy.

Pure, and as strict as it need be to know the caller: the engine checks that the form keeps to its policy, and
that the caller may write the object it names. Of each field that a signature is made of there may be one, so
that nobody is taken for another than the engine takes him for.
https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-HTTPPOSTConstructPolicy.html
"""

from __future__ import annotations

import hmac
import re

from botocore.awsrequest import AWSRequest

from protloc.cloud.gate.claims import ALGORITHM, Claim, Refused, Sent
from protloc.cloud.gate.signatures import MISMATCH, signer_of

_NAME = re.compile(rb'(?:^|;)\s*name="?([^";\r\n]*)"?', re.IGNORECASE)
_SIGNING = ("policy", "x-amz-algorithm", "x-amz-credential", "x-amz-date", "x-amz-signature")
MAX_FIELD_BYTES = 20_480
"""S3 takes a form of at most 20 KB besides its file."""


def is_form(sent: Sent) -> bool:
    """True of a form to a bucket that brings no other signature."""
    kind = (sent.header("content-type") or "").lower()
    bucket = sent.path.strip("/")
    unsigned = sent.header("authorization") is None and not sent.query
    return (
        sent.method == "POST"
        and kind.startswith("multipart/form-data")
        and unsigned
        and bool(bucket)
        and "/" not in bucket
        and not bucket.startswith("_")
    )


def claim_of_form(sent: Sent, body: bytes) -> tuple[Claim, str]:
    """The claim of a form, and the policy that it signs. Raises `Refused`."""
    fields = _fields(sent, body)
    lacking = [name for name in _SIGNING if not fields.get(name)]
    if lacking or fields["x-amz-algorithm"] != ALGORITHM:
        raise Refused("AccessDenied", "Access Denied", 403)
    parts = fields["x-amz-credential"].split("/")
    if len(parts) != 5 or not all(parts) or parts[3:] != ["s3", "aws4_request"]:
        raise Refused("InvalidArgument", "Invalid Argument", 400)
    claim = Claim(
        *(parts[0], parts[1], parts[2], parts[3]),
        "",
        fields["x-amz-signature"],
        fields["x-amz-date"],
        fields.get("x-amz-security-token", ""),
        None,
    )
    if claim.timestamp[:8] != claim.day:
        raise Refused("InvalidArgument", "Invalid Argument", 400)
    return claim, fields["policy"]


def check_policy(claim: Claim, policy: str, secret: str) -> None:
    """Refuse a form whose signature is not that of its policy."""
    request = AWSRequest()
    request.context["timestamp"] = claim.timestamp
    expected = signer_of(claim, secret).signature(policy, request)
    if not hmac.compare_digest(expected.encode(), claim.signature.encode()):
        raise Refused("SignatureDoesNotMatch", MISMATCH, 403)


def _fields(sent: Sent, body: bytes) -> dict[str, str]:
    """The fields before the file, by their names in small letters."""
    boundary = re.search(r'boundary="?([^";,]+)"?', sent.header("content-type") or "", re.IGNORECASE)
    malformed = Refused(
        "MalformedPOSTRequest", "The body of your POST request is not well-formed multipart/form-data.", 400
    )
    if boundary is None:
        raise malformed
    delimiter = b"\r\n--" + boundary[1].encode()
    fields: dict[str, str] = {}
    size = 0
    if not body.startswith(delimiter[2:]):
        raise malformed
    begin = 0
    while begin >= 0:
        head = body.find(b"\r\n\r\n", begin)
        if head < 0:
            break
        name = _name(body[begin:head])
        if name == "file":
            return fields
        end = body.find(delimiter, head + 4)
        if end < 0 or not name or name in fields:
            raise malformed
        size += end - begin
        if size > MAX_FIELD_BYTES:
            text = "Your POST request fields preceding the upload file were too large."
            raise Refused("MaxPostPreDataLengthExceededError", text, 400)
        fields[name] = body[head + 4 : end].decode("utf-8", "replace")
        begin = end
    raise Refused("InvalidArgument", "POST requires exactly one file upload per request.", 400)


def _name(headers: bytes) -> str:
    for line in headers.split(b"\r\n"):
        if line.lower().startswith(b"content-disposition:"):
            match = _NAME.search(line.partition(b":")[2])
            return match[1].decode("utf-8", "replace").lower() if match else ""
    return ""
