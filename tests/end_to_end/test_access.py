"""A role allows the needed permissions and no others: one stack does everything it can do, and IAM keeps a record.

The same run shows which metrics of their own the functions emit; alarms may watch only these.
"""

from __future__ import annotations

import gzip
import json
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest

from functions.domain.fasta import read_records
from functions.domain.protein import Protein, read_protein
from functions.domain.upload import Shard, Source, part_key
from protloc.cloud.connection import STACK
from protloc.cloud.engine.access import VARIABLE
from protloc.stack.parameters import template
from tests.conftest import Embedded
from tests.end_to_end.failing import failed_upload, is_split, without_model, without_predict
from tests.end_to_end.retraining import QUICK, execute, function_with, put_labels
from tests.end_to_end.test_flow import messy_fasta
from tests.end_to_end.test_submission import send
from tests.functions.test_events import golden
from tests.template.reference import Action, exists
from tests.waiting import LIMIT_SECONDS, until

pytestmark = pytest.mark.slow

INTERRUPTED = "only where writing a large object stops halfway"
SCALED = "asked by who scales a component that is there; retire takes its scaling away once it is gone"

# Permissions of a role that no run here needs, and the reason: a statement, or one action or resource of it.
UNSEEN = {
    "Log": "Lambda and SageMaker themselves write the logs",
    "GiveUpOnSchedule": "Scheduler itself sends on what no attempt could handle",
    f"Sweep function:{STACK}-retire": "Scheduler itself calls, once an hour",
    "Retrain": "Scheduler itself calls, where its schedule is enabled",
    "Measure": "SageMaker itself, beside the container",
    "Trace": "Lambda itself, where tracing is on",
    "ListData": "SageMaker itself, which lists a channel's files; here the cloud does",
    "ReadEncoders": "only jobs that begin with an encoder of the bucket that is a parameter",
    "Log logs:DescribeLogStreams": "SageMaker itself, before it writes a job's log",
    "CountBase": "only where the stack has base data",
    "LogInToRegistry": "SageMaker itself, before the container starts",
    "PullImages": "SageMaker itself, before the container starts",
    "CountUploads dynamodb:Query": "sweep counts what there is of an upload whose results cannot be written",
    "CountOpenUploads": "receive counts only where the stack limits the uploads in work at once",
    "WriteRows dynamodb:PutItem": "predict writes a failed row so, and here no protein fails the model",
    "KeepText s3:AbortMultipartUpload": INTERRUPTED,
    "WriteResults s3:AbortMultipartUpload": INTERRUPTED,
    "WriteArtifacts s3:AbortMultipartUpload": INTERRUPTED,
    "TellDeletedFromForbidden": "nobody calls it: with it S3 says that an object is gone, not that it is forbidden",
    "TellExpiredFromForbidden": "nobody calls it: with it S3 says that a text is gone, not that it is forbidden",
    "FindNone": "nobody calls it: with it S3 says that a job wrote nothing, not that reading it is forbidden",
    "EraseFile s3:DeleteObject": "S3's reference asks for it beside DeleteObjectVersion, and the engine does not",
    "LendEndpoint": SCALED,
    "LendConfiguration": SCALED,
    "Host sagemaker:DescribeModel": "only where creating a model fails, or its answer is lost",
    "TakeMessages sqs:SendMessage": "only where a service is out while a file is received",
    "Promote dynamodb:GetItem": "only where the answer to a promotion is lost",
}

# Permissions that one run needs and another does not.
SOMETIMES = {
    "DropCheckpoints": "a training this short may end before a checkpoint that it replaces was stored",
    "KeepAnswers": "split asks only where a batch is open when its shard is given up",
}


@dataclass(frozen=True)
class Used:
    """The record of a stack that did everything."""

    cloud: Embedded
    access: Path

    def asked(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.access.read_text().splitlines()]


class Everything:
    """Has a stack do everything that it needs a permission for, its repairs included."""

    def __init__(self, cloud: Embedded, folder: Path) -> None:
        self.cloud, self.folder = cloud, folder
        self.client, self.outputs = cloud.client.client, cloud.client.outputs

    def run(self) -> None:
        text = messy_fasta(1, 60)
        upload = self.predict("plain.fasta", text.encode())
        packed = self.predict("packed.fasta.gz", gzip.compress(text.encode()))
        self.predict("damaged.fasta.gz", gzip.compress(text.encode())[:-200], "partial")
        self.predict("picture.png", b"\x89PNG\r\n", "failed")
        self.ask_the_api(upload)
        for explained in (upload, packed):
            self.ask_for_an_explanation(explained)
        self.ask_about_a_few()
        self.fail_and_retry()
        self.send_by_form()
        self.take_back(packed)
        self.train_and_fail()
        self.lose_markers(upload)
        self.bury(upload, text)
        self.wait_for_a_model()
        self.call("sweep", {"task": "lost-events"})
        self.fail_deliveries()

    def predict(self, name: str, body: bytes, status: str = "complete") -> str:
        (self.folder / name).write_bytes(body)
        upload = str(self.cloud.answer("predict", name, "--no-wait")["upload"])
        assert self.cloud.client.wait(upload, lambda _: None, LIMIT_SECONDS)["status"] == status
        return upload

    def ask_the_api(self, upload: str) -> None:
        assert list(self.cloud.client.uploads())
        rows = list(self.cloud.client.predictions(upload))
        version = self.cloud.client.models()["active"]
        location = next(row["location"] for row in rows if row["location"])
        assert list(self.cloud.client.predictions(upload, location))
        for path in (f"/proteins/{rows[0]['accession']}", f"/models/{version}"):
            assert self.api(path)["statusCode"] == 200
        following = self.api(f"/uploads/{upload}/predictions", size="1")["multiValueHeaders"]["Link"][0]
        cursor = following.partition("cursor=")[2].partition(">")[0]
        assert self.api(f"/uploads/{upload}/predictions", size="1", cursor=cursor)["statusCode"] == 200
        link = self.api(f"/uploads/{upload}/results")["multiValueHeaders"]["Location"][0]
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        assert opener.open(link).read()

    def ask_for_an_explanation(self, upload: str) -> None:
        row = next(row for row in self.cloud.client.predictions(upload) if row["status"] == "predicted")
        assert self.cloud.client.explanation(upload, row["offset"])["accession"] == row["accession"]

    def ask_about_a_few(self) -> None:
        """Sequences in a request: answered, and made an upload while no model is there."""
        assert self.cloud.client.api.ask("POST", "/predictions", {"fasta": ">few\nMKVFQRMWYFEW\n"})[0] == 200
        with without_model(self.cloud):
            later = self.cloud.client.api.ask("POST", "/predictions", {"fasta": ">few\nMKVFQRMWYLATER\n"})
        assert later[0] == 202
        self.cloud.client.wait(later[1]["upload"], lambda _: None, LIMIT_SECONDS)

    def api(self, path: str, **parameters: str) -> dict[str, Any]:
        event = golden("api-get-upload") | {"path": path, "queryStringParameters": parameters or None}
        return self.call("query", event)

    def call(self, function: str, event: dict[str, Any]) -> dict[str, Any]:
        answer = self.client("lambda").invoke(
            FunctionName=f"{STACK}-{function}", Payload=json.dumps(event).encode()
        )
        assert "FunctionError" not in answer, answer["Payload"].read()
        result: dict[str, Any] = json.loads(answer["Payload"].read())
        return result

    def fail_and_retry(self) -> None:
        (self.folder / "failed.fasta").write_bytes(b">failed\nMKVFAILEDWY\n")
        upload = failed_upload(self.cloud, self.folder / "failed.fasta")
        assert self.cloud.answer("retry", upload)["predicted"] == 1

    def send_by_form(self) -> None:
        form = self.cloud.client.api.ask("POST", "/uploads", {"name": "form.fasta"})[1]
        assert send(form, b">form\nMKVFQRMWY\n")[0] == 204
        upload = until(
            lambda: self.cloud.client.api.get(f"/submissions/{form['submission']}")[1].get("upload")
        )
        self.cloud.client.wait(upload, lambda _: None, LIMIT_SECONDS)

    def take_back(self, ended: str) -> None:
        """One upload is cancelled in work, and one deleted, whose row is closed a day later."""
        with without_predict(self.cloud):
            upload = self.put(b">cancelled\nMKVCANCELLEDWY\n")
            until(lambda: is_split(self.cloud.client.find_upload(upload)))
            self.cloud.answer("cancel", upload)
        assert self.cloud.client.wait(upload, lambda _: None, LIMIT_SECONDS)["status"] == "cancelled"
        self.cloud.answer("delete", ended, "--yes")
        self.client("dynamodb").update_item(
            TableName=self.outputs["UploadsTable"],
            Key={"pk": {"S": ended}, "sk": {"S": "upload"}},
            UpdateExpression="SET deleted = :long_ago",
            ConditionExpression="deleted > :long_ago",
            ExpressionAttributeValues={":long_ago": {"N": "0"}},
        )
        until(lambda: self.item(ended)["status"] == {"S": "deleted"})

    def train_and_fail(self) -> None:
        """Promoted, made ready in vain, rolled back, and the one that nobody asks any more taken down."""
        bucket = self.outputs["ModelsBucket"]
        put_labels(self.cloud, self.folder)
        request: dict[str, Any] = {"version": "late-1", "hyperparameters": QUICK}
        with function_with(self.cloud, "smoke", SMOKE_SECONDS="0"):
            assert execute(self.cloud, request)["outcome"] == "Failed"
        request = {"version": "trained-1", "again": True, "hyperparameters": QUICK}
        assert execute(self.cloud, request)["outcome"] == "Promoted"
        self.client("s3").put_object(Bucket=bucket, Key="bad/model.tar.gz", Body=b"no archive")
        request = {"version": "bad-1", "artifact": f"s3://{bucket}/bad/model.tar.gz"}
        assert execute(self.cloud, request)["outcome"] == "Failed"
        slot = {"slot": "2026-11-24T00:00:00Z", "hyperparameters": QUICK}
        assert execute(self.cloud, slot)["outcome"] == "NothingNew"
        self.cloud.answer("models", "rollback")
        self.client("dynamodb").update_item(
            TableName=self.outputs["ModelsTable"],
            Key={"pk": {"S": "alias"}, "sk": {"S": "active"}},
            UpdateExpression="SET previous = :none, changed = :none_yet",
            ExpressionAttributeValues={":none": {"S": ""}, ":none_yet": {"N": "0"}},
        )
        until(lambda: self.call("retire", {"settle_seconds": 0}) and self.state("trained-1") == "retired")

    def state(self, version: str) -> str:
        """The state of a model version."""
        key = {"pk": {"S": "version"}, "sk": {"S": version}}
        item = self.client("dynamodb").get_item(TableName=self.outputs["ModelsTable"], Key=key)["Item"]
        return str(item["state"]["S"])

    # Failures, and their repair

    def item(self, upload: str, sort_key: str = "upload") -> dict[str, Any]:
        key = {"pk": {"S": upload}, "sk": {"S": sort_key}}
        response = self.client("dynamodb").get_item(
            TableName=self.outputs["UploadsTable"], Key=key, ConsistentRead=True
        )
        return dict(response.get("Item", {}))

    def forget_batches(self, upload: str) -> list[str]:
        """As if every function died between writing a batch's part and its marker."""
        database, table = self.client("dynamodb"), self.outputs["UploadsTable"]
        response = database.query(
            TableName=table,
            KeyConditionExpression="pk = :pk AND begins_with(sk, :prefix)",
            ExpressionAttributeValues={":pk": {"S": upload}, ":prefix": {"S": "batch#"}},
        )["Items"]
        for item in response:
            database.delete_item(TableName=table, Key={"pk": item["pk"], "sk": item["sk"]})
        return [item["sk"]["S"] for item in response]

    def reopen(self, upload: str) -> None:
        """As if the upload had not ended yet: late messages of an ended one are left alone."""
        database, table = self.client("dynamodb"), self.outputs["UploadsTable"]
        database.update_item(
            TableName=table,
            Key={"pk": {"S": upload}, "sk": {"S": "shard#00000"}},
            UpdateExpression="REMOVE batches_done, batches, kept",
        )
        database.update_item(
            TableName=table,
            Key={"pk": {"S": upload}, "sk": {"S": "upload"}},
            UpdateExpression="SET #status = :running, #open = :yes REMOVE announced, shards_done",
            ExpressionAttributeNames={"#status": "status", "#open": "open"},
            ExpressionAttributeValues={":running": {"S": "running"}, ":yes": {"S": "yes"}},
        )

    def send(self, queue: str, message: dict[str, Any]) -> None:
        self.client("sqs").send_message(QueueUrl=self.outputs[queue], MessageBody=json.dumps(message))

    def shard(self, upload: str) -> Shard:
        item = self.item(upload)
        source = Source(*(item["source"]["M"][name]["S"] for name in Source._fields))
        return Shard(upload, 0, source, 0, int(item["size"]["N"]))

    def lose_markers(self, upload: str) -> None:
        lost = self.forget_batches(upload)
        self.reopen(upload)
        self.send("ShardsQueue", self.shard(upload).as_message())
        until(lambda: all(self.item(upload, sort_key) for sort_key in lost))
        self.cloud.client.wait(upload, lambda _: None, LIMIT_SECONDS)

    def bury(self, upload: str, text: str) -> None:
        """Dead letters of each kind, the batch's with a part that was already written."""
        lost = self.forget_batches(upload)
        self.reopen(upload)
        shard, batch = (int(number) for number in lost[0].split("#")[1:])
        [judged] = [read_protein(record) for record in read_records([b">a\nMKVLAAGIVG\n"], start=0, end=7)]
        assert isinstance(judged, Protein)
        self.client("s3").head_object(
            Bucket=self.outputs["ResultsBucket"], Key=part_key(upload, shard, batch)
        )
        letter = {
            "upload": upload,
            "shard": shard,
            "batch": batch,
            "waits": 0,
            "proteins": [judged._asdict()],
        }
        self.send("BatchesDeadLetters", letter)
        self.send("ShardsDeadLetters", self.shard(upload).as_message())
        source = self.shard(upload).text
        detail = {
            "bucket": {"name": source.bucket},
            "object": {"key": source.key, "version-id": source.version_id},
        }
        self.send("UploadsDeadLetters", {"detail": detail})
        self.call("sweep", {"task": "stuck"})
        until(lambda: self.item(upload, lost[0]))

    def alias(self, version: str | None) -> None:
        database, table = self.client("dynamodb"), self.outputs["ModelsTable"]
        key = {"pk": {"S": "alias"}, "sk": {"S": "active"}}
        if version is None:
            database.delete_item(TableName=table, Key=key)
        else:
            database.put_item(
                TableName=table, Item={**key, "version": {"S": version}, "revision": {"N": "9"}}
            )

    def wait_for_a_model(self) -> None:
        """One upload before there is any model, and one whose model does not answer and that then stands still."""
        active = self.cloud.client.models()["active"]
        self.alias(None)
        waiting = self.put(b">early\nMKVEARLYWG\n")
        until(lambda: "reason" in self.item(waiting))  # it has looked for a model for the last time
        self.alias(active)
        self.call("sweep", {"task": "stuck"})
        self.cloud.client.wait(waiting, lambda _: None, LIMIT_SECONDS)
        self.alias("ghost")
        stuck = self.put(b">stuck\nMKVSTVCKWY\n")
        until(
            lambda: (
                "batches" in self.item(stuck, "shard#00000") and "EndpointWaits" in dict(emitted(self.cloud))
            )
        )
        for sort_key in ("upload", "shard#00000"):
            self.client("dynamodb").update_item(
                TableName=self.outputs["UploadsTable"],
                Key={"pk": {"S": stuck}, "sk": {"S": sort_key}},
                UpdateExpression="SET updated = :long_ago",
                ExpressionAttributeValues={":long_ago": {"N": "0"}},
            )
        self.alias(active)
        self.call("sweep", {"task": "stuck"})
        assert int(self.item(stuck, "shard#00000")["updated"]["N"]) > 0

    def put(self, body: bytes) -> str:
        from functions.domain.upload import upload_id

        bucket, key = self.outputs["UploadsBucket"], f"by hand/{len(body)}.fasta"
        stored = self.client("s3").put_object(Bucket=bucket, Key=key, Body=body)
        return upload_id(bucket, key, stored["VersionId"])

    def fail_deliveries(self) -> None:
        """Messages that no function can read: each is made visible again soon."""
        for queue in ("UploadsQueue", "ShardsQueue", "BatchesQueue"):
            self.send(queue, {"detail": {}, "upload": "none", "shard": 0, "batch": 0})
        functions = ("receive", "split", "predict")
        until(lambda: all("KeyError" in log_of(self.cloud, function) for function in functions))


def log_of(cloud: Embedded, function: str) -> str:
    path = cloud.home / "logs" / f"{STACK}-{function}.log"
    return path.read_text() if path.exists() else ""


def emitted(cloud: Embedded) -> set[tuple[str, str]]:
    """(metric, service) of every metric of the project's namespace in the functions' logs."""
    metrics = set()
    for path in (cloud.home / "logs").glob("*.log"):
        for line in path.read_text().splitlines():
            if not line.startswith("{") or '"_aws"' not in line:
                continue
            blob = json.loads(line)
            for directive in blob["_aws"]["CloudWatchMetrics"]:
                assert (directive["Namespace"], directive["Dimensions"]) == ("protloc", [["service"]])
                metrics |= {(metric["Name"], blob["service"]) for metric in directive["Metrics"]}
    return metrics


@pytest.fixture(scope="module")
def used(start_embedded: Callable[..., Embedded], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Used]:
    folder = tmp_path_factory.mktemp("everything")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv(VARIABLE, str(folder / "access.jsonl"))
        patched.chdir(folder)
        cloud = start_embedded()
        Everything(cloud, folder).run()
        used = Used(cloud, folder / "access.jsonl")
        until(lambda: any(entry["resource"].endswith(f":function:{STACK}-sweep") for entry in used.asked()))
        yield used


def granted(cloud: Embedded) -> Iterator[tuple[str, dict[str, Any]]]:
    """(role, statement) of every role of the deployed stack."""
    iam, formation = cloud.client.client("iam"), cloud.client.client("cloudformation")
    for resource in formation.describe_stack_resources(StackName=STACK)["StackResources"]:
        if resource["ResourceType"] == "AWS::IAM::Role":
            role = resource["PhysicalResourceId"]
            for policy in iam.list_role_policies(RoleName=role)["PolicyNames"]:
                document = iam.get_role_policy(RoleName=role, PolicyName=policy)["PolicyDocument"]
                for statement in document["Statement"]:
                    yield role, statement


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def unused(used: Used) -> set[str]:
    """Each statement, or action or resource of one, that a role allows and nobody asked for."""
    requests: dict[str, set[tuple[str, str]]] = {}
    for entry in used.asked():
        requests.setdefault(entry["role"], set()).add((entry["action"], entry["resource"]))
    unused_parts = set()
    for role, statement in granted(used.cloud):
        actions, patterns = set(as_list(statement["Action"])), set(as_list(statement["Resource"]))
        matches = [
            (action, pattern)
            for action, resource in requests.get(role, ())
            for pattern in patterns
            if action in actions and fnmatchcase(resource, pattern)
        ]
        if not matches:
            unused_parts.add(statement["Sid"])
            continue
        rest = actions - {action for action, _ in matches}
        rest |= {pattern.split(":", 5)[5] for pattern in patterns - {pattern for _, pattern in matches}}
        unused_parts |= {f"{statement['Sid']} {each}" for each in rest}
    return unused_parts


def test_no_role_lacks_what_its_code_calls(used: Used) -> None:
    refused = [entry for entry in used.asked() if not entry["allowed"]]
    assert refused == []


def test_no_role_allows_what_nothing_calls(used: Used) -> None:
    assert unused(used) - set(SOMETIMES) == set(UNSEEN)


def test_iam_is_asked_what_the_reference_defines(used: Used) -> None:
    """Asked about a resource of another type, a role would be refused or allowed for the wrong reason."""
    wrong = set()
    for entry in used.asked():
        action = Action(entry["action"]) if exists(entry["action"]) else None
        fits = action and (action.kinds_of(entry["resource"]) if action.kinds else entry["resource"] == "*")
        if not fits:
            wrong.add((entry["action"], entry["resource"]))
    assert wrong == set()


def test_alarms_on_metrics_of_our_own_watch_what_the_functions_emit(used: Used) -> None:
    resources = template()["Resources"].values()
    alarms = [each["Properties"] for each in resources if each["Type"] == "AWS::CloudWatch::Alarm"]
    watched = {alarm["MetricName"] for alarm in alarms if alarm.get("Namespace") == "protloc"}
    assert watched and {(metric, STACK) for metric in watched} <= emitted(used.cloud)
