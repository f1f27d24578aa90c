"""The expressions that the state machine sends to DynamoDB, as moto reads them: words that are reserved, and names
and values that no expression uses, are refused there as on AWS.

https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/ReservedWords.html
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore import xform_name
from botocore.exceptions import ClientError
from moto import mock_aws

from tests.retraining.test_requests import ASKED, SUBSTITUTIONS

EXPRESSIONS = {
    name: (each.resource.rpartition(":")[2], each.arguments)
    for name, each in ASKED.items()
    if "dynamodb" in each.resource
}
UNMET = ("ConditionalCheckFailedException", "TransactionCanceledException")


@pytest.fixture(scope="module")
def dynamodb() -> Iterator[Any]:
    """A client of a database with the table of models in it."""
    with mock_aws():
        client: Any = boto3.client(
            "dynamodb", region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b"
        )
        client.create_table(
            TableName=SUBSTITUTIONS["ModelsTable"],
            KeySchema=[
                {"AttributeName": "pk", "KeyType": "HASH"},
                {"AttributeName": "sk", "KeyType": "RANGE"},
            ],
            AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk")],
            BillingMode="PAY_PER_REQUEST",
        )
        yield client


def refusal(client: Any, operation: str, arguments: dict[str, Any]) -> str:
    """The refusal of an expression; empty where it is read, whether its condition is met or not."""
    try:
        getattr(client, xform_name(operation[0].upper() + operation[1:]))(**arguments)
    except ClientError as error:
        return "" if error.response["Error"]["Code"] in UNMET else str(error)
    return ""


@pytest.mark.parametrize("state", EXPRESSIONS)
def test_an_expression_is_one_that_dynamodb_reads(dynamodb: Any, state: str) -> None:
    assert refusal(dynamodb, *EXPRESSIONS[state]) == ""


def test_a_reserved_word_and_a_value_without_use_are_refused(dynamodb: Any) -> None:
    """The judge itself: `state` is reserved."""
    operation, arguments = EXPRESSIONS["RecordFailure"]
    plain = copy.deepcopy(arguments)
    plain["UpdateExpression"] = plain["UpdateExpression"].replace("#state", "state")
    del plain["ExpressionAttributeNames"]["#state"]
    assert "reserved keyword" in refusal(dynamodb, operation, plain)
    more = copy.deepcopy(arguments)
    more["ExpressionAttributeValues"][":more"] = {"S": "x"}
    assert "unused" in refusal(dynamodb, operation, more)
