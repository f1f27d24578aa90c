"""Requests that a service would refuse are refused where moto stands in for it, too."""

import pytest
from botocore.exceptions import ClientError

from tests.functions.world import World


def test_a_batch_larger_than_the_service_takes_is_refused(empty_world: World) -> None:
    requests = [{"PutRequest": {"Item": {"pk": str(number), "sk": "a"}}} for number in range(26)]
    with pytest.raises(ClientError, match="length less than or equal to 25"):
        empty_world.database.batch_write_item(RequestItems={"ModelsTable": requests})


def test_an_attribute_that_queues_have_not_is_refused(empty_world: World) -> None:
    address = empty_world.sqs.get_queue_url(QueueName="batches")["QueueUrl"]
    with pytest.raises(ClientError, match="Unknown Attribute Sent"):
        empty_world.sqs.receive_message(QueueUrl=address, MessageSystemAttributeNames=["Sent"])
    empty_world.sqs.receive_message(QueueUrl=address, MessageSystemAttributeNames=["SentTimestamp"])


def test_a_choice_that_buckets_have_not_is_refused(empty_world: World) -> None:
    with pytest.raises(ClientError, match="Value 'secret' at 'aCL'"):
        empty_world.s3.put_object(Bucket="uploads", Key="a", Body=b"", ACL="secret")
