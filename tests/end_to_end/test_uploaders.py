"""The policies for people allow files in and results out, and labels to labellers alone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from protloc.errors import Unreachable, UsageProblem
from protloc.stack.client import Client
from tests.conftest import SAMPLE, Embedded
from tests.waiting import LIMIT_SECONDS

WHATEVER = json.dumps(
    {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}
)


@pytest.fixture
def person(embedded: Embedded, request: pytest.FixtureRequest) -> Iterator[Client]:
    """The client of a user who holds one of the stack's policies."""
    iam, name = embedded.client.client("iam"), f"person-{request.param}"
    iam.create_user(UserName=name)
    policy = embedded.client.outputs[request.param]
    iam.attach_user_policy(UserName=name, PolicyArn=policy)
    key = iam.create_access_key(UserName=name)["AccessKey"]
    try:
        yield client_with(embedded, key["AccessKeyId"], key["SecretAccessKey"])
    finally:
        iam.delete_access_key(UserName=name, AccessKeyId=key["AccessKeyId"])
        iam.detach_user_policy(UserName=name, PolicyArn=policy)
        for inline in iam.list_user_policies(UserName=name)["PolicyNames"]:
            iam.delete_user_policy(UserName=name, PolicyName=inline)
        iam.delete_user(UserName=name)


def client_with(embedded: Embedded, *keys: str) -> Client:
    url = embedded.client.client("s3").meta.endpoint_url
    session = boto3.Session(*keys, region_name="us-east-1")
    return Client(
        embedded.client.outputs,
        embedded.client.api_url,
        session,
        lambda service: session.client(service, endpoint_url=url),  # type: ignore[call-overload]
    )


def put_label(person: Client) -> None:
    bucket = person.outputs["UploadsBucket"]
    person.client("s3").put_object(Bucket=bucket, Key="labels/mine.tsv", Body=b"x")


def denied(call: Any) -> bool:
    try:
        call()
    except ClientError as problem:
        return problem.response["Error"]["Code"] == "AccessDenied"
    return False


@pytest.mark.parametrize("person", ["UploadersPolicy"], indirect=True)
def test_an_uploader_gets_answers_and_puts_no_labels(
    embedded: Embedded, person: Client, tmp_path: Path
) -> None:
    with SAMPLE.open("rb") as file:
        sent = person.send(file, "sample.fasta")
    view = person.wait(sent.upload_id, lambda _: None, LIMIT_SECONDS)
    assert view["status"] == "complete"
    person.download(view["results"]["tsv"], tmp_path / "rows.tsv")
    assert (tmp_path / "rows.tsv").stat().st_size
    assert person.api.ask("POST", "/predictions", {"fasta": ">a\nMKVLAAGIVGMKV\n"})[0] == 200
    assert denied(lambda: put_label(person))
    embedded.client.client("iam").put_user_policy(
        UserName="person-UploadersPolicy", PolicyName="more", PolicyDocument=WHATEVER
    )
    assert denied(lambda: put_label(person)), "whatever else a person may hold"
    with pytest.raises(Unreachable, match="the API refused us"):
        person.activate("tiny-1", 0)
    with pytest.raises(UsageProblem, match="has ended as complete"):
        person.cancel(sent.upload_id)
    with pytest.raises(Unreachable, match="the API refused us"):
        person.delete(sent.upload_id)
    assert person.upload(sent.upload_id)["status"] == "complete"


@pytest.mark.parametrize("person", ["DeletersPolicy"], indirect=True)
def test_a_deleter_deletes_and_sees_nothing(embedded: Embedded, person: Client) -> None:
    upload = embedded.answer("predict", SAMPLE)["upload"]
    for look in (lambda: person.upload(upload), lambda: person.cancel(upload)):
        with pytest.raises(Unreachable, match="the API refused us"):
            look()
    person.delete(upload)
    with pytest.raises(UsageProblem, match="was deleted"):
        embedded.client.upload(upload)


@pytest.mark.parametrize("person", ["LabellersPolicy"], indirect=True)
def test_a_labeller_puts_labels(embedded: Embedded, person: Client) -> None:
    put_label(person)
    bucket = person.outputs["UploadsBucket"]
    listing = person.client("s3").list_objects_v2(Bucket=bucket, Prefix="labels/")
    assert [each["Key"] for each in listing["Contents"]] == ["labels/mine.tsv"]
    embedded.client.client("s3").delete_object(Bucket=bucket, Key="labels/mine.tsv")
    assert denied(lambda: person.client("s3").list_objects_v2(Bucket=bucket))
