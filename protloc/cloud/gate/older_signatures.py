"""Checks addresses of S3 presigned with Signature Version 2, which boto3 makes by itself for us-east-1.

https://docs.aws.amazon.com/AmazonS3/latest/API/RESTAuthentication.html. It covers some parameters of the
address only; a request with any other is refused here, so that no part of a request is unsigned.
"""

from __future__ import annotations

import hmac
from typing import Any
from urllib.parse import SplitResult, parse_qsl

from botocore.auth import HmacV1Auth
from botocore.compat import HTTPHeaders
from botocore.credentials import Credentials

AUTHENTICATION = {"AWSAccessKeyId", "Signature", "Expires"}
STANDARD_HEADERS = ("content-md5", "content-type")


class _Signer(HmacV1Auth):
    """Signs for the time at which an address ends, where a header would have its date."""

    expires: str

    def _get_date(self) -> str:
        return self.expires


def matches(
    method: str,
    path: str,
    query_string: str,
    headers: list[tuple[str, str]],
    secret: str,
) -> bool:
    """True if the address is signed with this secret, and all that it asks for with it."""
    query = dict(parse_qsl(query_string, keep_blank_values=True))
    signed = HTTPHeaders()
    for name, value in headers:
        if name in STANDARD_HEADERS or name.startswith("x-amz-"):
            signed[name] = value
    for name, value in query.items():
        if name.lower().startswith("x-amz-"):  # a header that was moved into the address
            signed[name.lower()] = value
        elif name.lower() in STANDARD_HEADERS:
            if (name.lower(), value) not in headers:
                return False
        elif name not in AUTHENTICATION and name not in HmacV1Auth.QSAOfInterest:
            return False
    signer = _Signer(Credentials(query["AWSAccessKeyId"], secret))
    signer.expires = query["Expires"]
    signed_headers: Any = signed
    split = SplitResult("http", "", path, query_string, "")
    expected = signer.get_signature(method, split, signed_headers)
    return hmac.compare_digest(expected.encode(), query["Signature"].encode())
