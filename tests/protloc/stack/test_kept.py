"""The resources that outlive a stack are found by its name, and none of another stack with them."""

from __future__ import annotations

import boto3
import pytest
from moto import mock_aws

from protloc.stack.account import Account
from protloc.stack.kept import BUCKET, PACKAGE_GROUP, TABLE, Kept, keepers
from protloc.stack.parameters import template

OWN = {
    (BUCKET, "lab-uploadsbucket-1x2y3z4a5b6c"),
    (BUCKET, "lab-resultsbucket-1x2y3z4a5b6c"),
    (TABLE, "lab-ModelsTable-1A2B3C4D5E6F7"),
    *((PACKAGE_GROUP, f"lab-{number:08x}") for number in range(12)),
}
OTHERS = {  # stacks that are named after ours, or after one of its resources
    (BUCKET, "lab-2-uploadsbucket-1x2y3z4a5b6c"),
    (BUCKET, "lab-uploadsbucket-2-uploadsbucket-1x2y3z4a5b6c"),
    (TABLE, "lab-ModelsTable-2-ModelsTable-1A2B3C4D5E6F7"),
    (PACKAGE_GROUP, "lab-2-0123abcd"),
    (PACKAGE_GROUP, "my-lab-0123abcd"),
}


@mock_aws
def test_a_stack_keeps_what_its_own_name_is_on(monkeypatch: pytest.MonkeyPatch) -> None:
    session = boto3.Session("a", "b", region_name="us-east-1")
    key = {"AttributeName": "pk", "KeyType": "HASH"}
    for kind, name in OWN | OTHERS:
        if kind == BUCKET:
            session.client("s3").create_bucket(Bucket=name)
        elif kind == TABLE:
            session.client("dynamodb").create_table(
                TableName=name,
                KeySchema=[key],  # type: ignore[list-item]
                AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
                BillingMode="PAY_PER_REQUEST",
            )
        else:
            session.client("sagemaker").create_model_package_group(ModelPackageGroupName=name)
    account = Account("lab", "us-east-1", session.client, False, " --stack lab")  # type: ignore[arg-type]
    assert Kept(account).named() == OWN


def test_every_type_that_the_template_keeps_is_known() -> None:
    kinds = {each["Type"] for each in keepers(template()).values()}
    assert kinds == {BUCKET, TABLE, PACKAGE_GROUP, "AWS::S3::BucketPolicy"}  # a policy goes with its bucket
