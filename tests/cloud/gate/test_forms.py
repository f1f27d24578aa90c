"""Forms to S3 pass as boto3 signed them, and not once a field that the signature is made of is another."""

from __future__ import annotations

from collections.abc import Mapping

import boto3
import pytest
from botocore.config import Config

from protloc.cloud.gate.claims import Refused, Sent
from protloc.cloud.gate.forms import MAX_FIELD_BYTES, check_policy, claim_of_form, is_form

KEY, SECRET = "AKIDEXAMPLE", "a secret of the tests"  # pragma: allowlist secret
TYPE = ("content-type", 'multipart/form-data; boundary="edge"')


def fields() -> dict[str, str]:
    """The fields of a form that boto3 has signed."""
    client = boto3.client(
        "s3",
        aws_access_key_id=KEY,
        aws_secret_access_key=SECRET,
        aws_session_token="a token",
        region_name="us-east-1",
        config=Config(signature_version="s3v4"),
    )
    return dict(client.generate_presigned_post("bucket", "2026-11-26/a/b.fasta")["fields"])


def part(name: str, value: str) -> bytes:
    return f'--edge\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()


def form(values: Mapping[str, str], before: bytes = b"", after: bytes = b"") -> tuple[Sent, bytes]:
    body = before + b"".join(part(name, value) for name, value in values.items())
    body += part("file", ">a\nMKV") + after + b"--edge--\r\n"
    return Sent("POST", "/bucket", "", [TYPE]), body


def admitted(values: Mapping[str, str], before: bytes = b"", after: bytes = b"") -> str:
    """The key of the caller of a form, or the code with which it is refused."""
    sent, body = form(values, before, after)
    assert is_form(sent)
    try:
        claim, policy = claim_of_form(sent, body)
        check_policy(claim, policy, SECRET)
    except Refused as refusal:
        return refusal.code
    assert claim.token == "a token"
    return claim.access_key


def test_a_form_passes_as_it_was_signed() -> None:
    signed = fields()
    assert admitted(signed) == KEY
    assert admitted({name.upper(): value for name, value in signed.items()}) == KEY
    assert admitted(signed, after=part("x-amz-credential", "somebody/else")) == KEY  # nobody reads on


@pytest.mark.parametrize("name", ["policy", "x-amz-credential", "x-amz-date", "x-amz-signature"])
def test_no_field_of_the_signature_may_be_another_or_missing_or_there_twice(name: str) -> None:
    signed = fields()
    changed = ("0" if signed[name][0] != "0" else "1") + signed[name][1:]
    assert admitted({**signed, name: changed}) in (
        "SignatureDoesNotMatch",
        "InvalidArgument",
        "0" + KEY[1:],  # another caller, whose secret is another
    )
    assert admitted({each: value for each, value in signed.items() if each != name}) == "AccessDenied"
    twice = part(name.title(), "x")
    assert admitted(signed, before=twice) == "MalformedPOSTRequest"


def test_a_form_without_a_file_or_with_too_much_before_it_is_refused() -> None:
    sent, body = form(fields())
    with pytest.raises(Refused) as refusal:
        claim_of_form(
            sent, body.partition(b'--edge\r\nContent-Disposition: form-data; name="file"')[0] + b"--edge--"
        )
    assert refusal.value.code in ("InvalidArgument", "MalformedPOSTRequest")
    assert admitted({"x": "x" * MAX_FIELD_BYTES, **fields()}) == "MaxPostPreDataLengthExceededError"
    with pytest.raises(Refused):
        claim_of_form(sent, b"no form")


@pytest.mark.parametrize(
    "sent",
    [
        Sent("PUT", "/bucket", "", [TYPE]),
        Sent("POST", "/bucket/key", "", [TYPE]),
        Sent("POST", "/", "", [TYPE]),
        Sent("POST", "/_aws", "", [TYPE]),
        Sent("POST", "/bucket", "delete", [TYPE]),
        Sent("POST", "/bucket", "", [("content-type", "application/xml")]),
        Sent("POST", "/bucket", "", [TYPE, ("authorization", "AWS4-HMAC-SHA256 …")]),
    ],
)
def test_nothing_else_is_taken_for_a_form(sent: Sent) -> None:
    assert not is_form(sent)
