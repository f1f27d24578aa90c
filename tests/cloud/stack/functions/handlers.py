"""The handlers of the test stack: each shows one thing the embedded cloud must do as AWS does."""

import json
import os
import time

import boto3


def _table():
    return boto3.resource("dynamodb").Table(os.environ["TABLE"])


def _pass_gate(path):
    """Say that this process has come to the gate, and wait until the test opens it."""
    open(os.path.join(path + ".reached", str(os.getpid())), "w").close()
    while not os.path.exists(path):
        time.sleep(0.01)


def note(event, context):
    """One row per message. The first time, one with "crash" ends the process and one with "gate" waits there.

    As often as "fail" says it is reported as failed, and made visible at once so that it comes again.
    """
    failed = []
    for record in event["Records"]:
        body = json.loads(record["body"])
        if body.get("crash") and not os.path.exists(body["crash"]):
            open(body["crash"], "w").close()
            os._exit(7)
        if body.get("gate") and record["attributes"]["ApproximateReceiveCount"] == "1":
            _pass_gate(body["gate"])
        if body.get("fail") and int(record["attributes"]["ApproximateReceiveCount"]) <= body["fail"]:
            failed.append({"itemIdentifier": record["messageId"]})
            boto3.client("sqs").change_message_visibility(
                QueueUrl=os.environ["QUEUE"], ReceiptHandle=record["receiptHandle"], VisibilityTimeout=0
            )
            continue
        stored_object = body.get("detail", {}).get("object")
        key = json.dumps(stored_object, ensure_ascii=False) if stored_object else body["id"]
        _table().put_item(
            Item={
                "pk": "message",
                "sk": key,
                "body": record["body"],
                "received": record["attributes"]["ApproximateReceiveCount"],
                "saw": bool(body.get("see")) and os.path.exists(body["see"]),
            }
        )
    return {"batchItemFailures": failed}


def loop(event, context):
    """A row for every delivery, and the message sent to this function's own queue again until its `last` round."""
    for record in event["Records"]:
        body = json.loads(record["body"])
        _table().put_item(Item={"pk": body["loop"], "sk": f"{body['round']:02d}"})
        if body["round"] < body["last"]:
            again = json.dumps(body | {"round": body["round"] + 1})
            boto3.client("sqs").send_message(QueueUrl=os.environ["QUEUE"], MessageBody=again)


TRIES = {}


def follow(event, context):
    """A row for every stream record; a message with "unfollowed" is reported as failed that many times."""
    for record in event["Records"]:
        image = record["dynamodb"]["NewImage"]
        key, number = image["sk"]["S"], record["dynamodb"]["SequenceNumber"]
        TRIES[key] = TRIES.get(key, 0) + 1
        if TRIES[key] <= json.loads(image["body"]["S"]).get("unfollowed", 0):
            return {"batchItemFailures": [{"itemIdentifier": number}]}
        _table().put_item(Item={"pk": "followed", "sk": key, "tries": TRIES[key]})
    return {"batchItemFailures": []}


def answer(event, context):
    """Everything a test asks of a function: its environment, an error, a denied call, a long time."""
    ask = (event.get("queryStringParameters") or {}).get("ask") or event.get("ask")
    result = {"ask": ask}
    if ask == "environment":
        result["environment"] = dict(os.environ)
    elif ask == "error":
        raise LookupError("as asked")
    elif ask == "exit":
        os._exit(3)
    elif ask == "pid":
        result["pid"] = os.getpid()
        if "gate" in event:
            _pass_gate(event["gate"])
    elif ask == "denied":
        try:
            _table().delete_item(Key={"pk": "a", "sk": "b"})
            result["denied"] = ""
        except Exception as problem:
            result["denied"] = str(problem)
    return {"statusCode": 200, "body": json.dumps(result)}


def hang(event, context):
    """Never answers."""
    while True:
        time.sleep(1)
