"""The cloud starts once, keeps its state across restarts and kills, and leaves other processes alone."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest

from protloc.cloud import connection, deploy, lifecycle
from protloc.cloud.connection import Cloud
from protloc.cloud.engine.generations import STATE
from tests.cloud.conftest import STACK, Stack
from tests.cloud.sagemaker.models import artifact
from tests.cloud.sagemaker.test_sagemaker import describe, invoke, put, serving
from tests.cloud.test_stack import ask, send
from tests.waiting import Gate, until


def killed(stack: Stack) -> Stack:
    """The same stack after `kill -9` and a new start."""
    os.kill(stack.cloud.pid, signal.SIGKILL)
    return Stack(lifecycle.up(stack.cloud.home), stack.outputs)


def saved(stack: Stack) -> None:
    """Wait until the state is on disk."""
    noted = (connection.health(stack.cloud.port, stack.cloud.home) or {})["changes"]
    until(lambda: (connection.health(stack.cloud.port, stack.cloud.home) or {})["saved"] >= noted)


def children(pid: int) -> list[psutil.Process]:
    return psutil.Process(pid).children()


def ended(process: psutil.Process) -> bool:
    """True if a process is gone, or dead and only not asked about yet."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_up_twice_is_one_cloud_and_status_knows_it(stack: Stack) -> None:
    assert lifecycle.up(stack.cloud.home) == stack.cloud
    status = lifecycle.status(stack.cloud.home)
    assert (status["state"], status["pid"], status["home"]) == (
        "running",
        stack.cloud.pid,
        str(stack.cloud.home),
    )


def test_two_starters_make_one_cloud(tmp_path: Path) -> None:
    with ThreadPoolExecutor(2) as threads:
        first, second = threads.map(lambda _: lifecycle.up(tmp_path), range(2))
    assert first == second
    assert lifecycle.down(tmp_path, erase=True)
    assert not lifecycle.down(tmp_path)
    assert lifecycle.status(tmp_path)["state"] == "stopped"


def test_a_cloud_whose_home_was_deleted_ends(tmp_path: Path) -> None:
    cloud = lifecycle.up(tmp_path / "home")
    process = psutil.Process(cloud.pid)
    shutil.rmtree(cloud.home)
    until(lambda: ended(process))


def test_two_homes_run_side_by_side(stack: Stack, tmp_path: Path) -> None:
    other = lifecycle.up(tmp_path)
    try:
        assert other.port != stack.cloud.port
        assert other.client("s3").list_buckets()["Buckets"] == []
        assert stack.client("s3").list_buckets()["Buckets"]
    finally:
        lifecycle.down(tmp_path, erase=True)
    assert connection.find(stack.cloud.home) is not None


def test_it_listens_on_loopback_only(stack: Stack) -> None:
    port = f"{stack.cloud.port:04X}"
    listening = [
        line.split()[1]
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]
        if line.split()[3] == "0A" and line.split()[1].endswith(f":{port}")
    ]
    assert listening == [f"0100007F:{port}"]


def test_a_port_in_use_is_reported_clearly(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(lifecycle.CloudError, match=f"port {port} is in use"):
            lifecycle.up(tmp_path, port)


def test_a_process_number_that_belongs_to_another_program_is_no_cloud(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        (tmp_path / "cloud.json").write_text(json.dumps({"pid": other.pid, "port": 1}))
        assert not lifecycle.down(tmp_path)
        assert other.poll() is None
        other.kill()


def test_down_and_up_keep_the_port_and_the_data(own_stack: Stack) -> None:
    first = own_stack.cloud
    own_stack.client("s3").put_object(Bucket=own_stack.outputs["Bucket"], Key="models/kept", Body=b"kept")
    assert lifecycle.down(first.home)
    second = Stack(lifecycle.up(first.home), own_stack.outputs)
    assert second.cloud.port == first.port
    answer = second.client("s3").get_object(Bucket=second.outputs["Bucket"], Key="models/kept")
    assert answer["Body"].read() == b"kept"
    formation = second.client("cloudformation")
    events = formation.describe_stack_events(StackName="test")["StackEvents"]
    assert deploy.deploy(second.cloud, STACK, "test") == own_stack.outputs
    assert formation.describe_stack_events(StackName="test")["StackEvents"] == events, "nothing was deployed"
    identity = send(second)
    until(lambda: identity in second.rows("message"))


def test_down_saves_and_does_not_wait_for_a_call_in_work(
    own_stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, sent, kill = Gate(tmp_path / "gate"), [], os.kill

    def noted(pid: int, number: int) -> None:
        sent.extend([signal.Signals(number).name] if number else [])
        kill(pid, number)

    with ThreadPoolExecutor(1) as threads:
        call = threads.submit(ask, own_stack, "pid", gate=str(gate.path))
        until(lambda: gate.reached or call.done())
        own_stack.client("sqs").create_queue(QueueName="last")
        monkeypatch.setattr(os, "kill", noted)
        assert lifecycle.down(own_stack.cloud.home)
        gate.open()
        assert call.exception() is not None
    assert sent == ["SIGTERM"], "it ended by itself"
    again = lifecycle.up(own_stack.cloud.home)
    assert again.client("sqs").get_queue_url(QueueName="last")


def test_kill_loses_nothing_that_was_saved(own_stack: Stack, tmp_path: Path) -> None:
    bucket = own_stack.outputs["Bucket"]
    put_ = own_stack.client("s3").put_object
    versions = [put_(Bucket=bucket, Key="models/v", Body=body)["VersionId"] for body in (b"one", b"two")]
    done = [send(own_stack) for _ in range(20)]
    until(lambda: set(done) <= set(own_stack.rows("message")))
    gate = Gate(tmp_path / "gate")
    held = [send(own_stack, gate=str(gate.path))]
    until(lambda: gate.reached)
    component = serving(own_stack, put(own_stack, "models/m/model.tar.gz", artifact()))
    held.append(send(own_stack, gate=str(gate.path)))
    until(lambda: len(gate.reached) == 2)
    saved(own_stack)
    workers = children(own_stack.cloud.pid)
    assert gate.reached < {process.pid for process in workers}
    again = killed(own_stack)
    gate.open()
    assert again.cloud.port == own_stack.cloud.port
    assert set(done) <= set(again.rows("message"))
    client = again.client("s3")
    read = [client.get_object(Bucket=bucket, Key="models/v", VersionId=v)["Body"].read() for v in versions]
    assert read == [b"one", b"two"]
    until(lambda: set(held) <= set(again.rows("message")))
    until(lambda: {*held, *done} <= set(again.rows("followed")))
    until(lambda: all(map(ended, workers)))
    until(lambda: describe(again, component)["RuntimeConfig"]["CurrentCopyCount"] == 1)
    assert invoke(again, component, ["MKT"])[0]["length"] == 6


def test_after_a_kill_nothing_is_delivered_before_the_models_are_back(
    own_stack: Stack, tmp_path: Path
) -> None:
    """Else all that waits finds no model, and is put off longer with each kill."""
    loading, delivery = Gate(tmp_path / "loading"), Gate(tmp_path / "delivery")
    loading.open()
    model = artifact(json.dumps({"factor": 2, "loading_gate": str(loading.path)}))
    component = serving(own_stack, put(own_stack, "models/m/model.tar.gz", model))
    waiting = send(own_stack, gate=str(delivery.path), see=str(loading.path))
    until(lambda: delivery.reached)
    loading.close()
    saved(own_stack)
    again = killed(own_stack)
    delivery.open()
    until(lambda: loading.reached)
    assert describe(again, component)["RuntimeConfig"]["CurrentCopyCount"] == 0
    assert (connection.health(again.cloud.port, again.cloud.home) or {})["delivering"] is False
    loading.open()
    row = until(lambda: again.rows("message").get(waiting))
    assert row["saw"]["BOOL"], "it was delivered while the model was still loading"
    assert describe(again, component)["RuntimeConfig"]["CurrentCopyCount"] == 1


def test_an_object_whose_event_was_not_saved_is_announced_after_the_restart(own_stack: Stack) -> None:
    saved(own_stack)
    own_stack.client("s3").put_object(Bucket=own_stack.outputs["Bucket"], Key="in/late.fasta", Body=b">a\nM")
    again = killed(own_stack)
    until(lambda: [key for key in again.rows("message") if "in/late.fasta" in key])


def test_another_port_after_a_restart_finds_the_same_queues(own_stack: Stack) -> None:
    home, port = own_stack.cloud.home, own_stack.cloud.port
    lifecycle.down(home)
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", port))
        taken.listen()
        again = Stack(lifecycle.up(home), own_stack.outputs)
        assert again.cloud.port != port
        identity = send(again)
        until(lambda: identity in again.rows("followed"))


HELD_TEMPLATE = """
Transform: AWS::Serverless-2016-10-31
Resources:
  Queue: {{Type: AWS::SQS::Queue}}
  Function:
    Type: AWS::Serverless::Function
    Properties: {{Runtime: python3.13, Handler: held.handler, CodeUri: functions/, Timeout: 900}}
  Held:
    Type: Custom::Held
    Properties: {{ServiceToken: !GetAtt Function.Arn, Gate: "{gate}", Queue: !Ref Queue}}
Outputs:
  Queue: {{Value: !Ref Queue}}
"""
HELD_FUNCTION = """
import json, urllib.request

def handler(event, context):
    pass_gate(event["ResourceProperties"]["Gate"])
    answer = {name: event[name] for name in ("StackId", "RequestId", "LogicalResourceId")}
    body = json.dumps(answer | {"Status": "SUCCESS", "PhysicalResourceId": "held"}).encode()
    request = urllib.request.Request(event["ResponseURL"], body, {"Content-Type": ""}, method="PUT")
    urllib.request.urlopen(request).read()
"""


@pytest.mark.parametrize(
    "kept", [pytest.param(True, id="saved"), pytest.param(False, id="not saved", marks=pytest.mark.slow)]
)
def test_a_deployment_cut_short_is_taken_up_again(tmp_path: Path, kept: bool) -> None:
    home, gate = tmp_path / "home", Gate(tmp_path / "gate")
    template = tmp_path / "template.yaml"
    template.write_text(HELD_TEMPLATE.format(gate=gate.path))
    (tmp_path / "functions").mkdir()
    (tmp_path / "functions" / "held.py").write_text(Gate.source + HELD_FUNCTION)
    cloud, state, before = lifecycle.up(home), home / "state" / STATE, tmp_path / "before"
    try:
        cloud.client("sqs").create_queue(QueueName="before")
        saved(Stack(cloud, {}))
        shutil.copy(state, before)
        with ThreadPoolExecutor(1) as threads:
            first = threads.submit(deploy.deploy, cloud, template, "test")
            until(lambda: gate.reached or first.done())
            assert not first.done(), first.result()
            if kept:
                saved(Stack(cloud, {}))
            os.kill(cloud.pid, signal.SIGKILL)
            if not kept:
                until(lambda: ended(psutil.Process(cloud.pid)) if psutil.pid_exists(cloud.pid) else True)
                shutil.copy(before, state)
            gate.open()
            cloud = lifecycle.up(home, recover=not kept)
            with pytest.raises(deploy.DeployError):
                first.result()
        assert "Queue" in deploy.deploy(cloud, template, "test")
    finally:
        lifecycle.down(home, erase=True)


def test_many_rows_are_saved_without_holding_up_the_writers(cloud: Cloud) -> None:
    table, client = f"rows-{uuid.uuid4().hex[:6]}", cloud.client("dynamodb")
    client.create_table(
        TableName=table,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
    )
    row: dict[str, Any] = {f"p{n}": {"N": "0.1234"} for n in range(10)} | {"header": {"S": "x" * 100}}
    for start in range(0, 1000, 25):
        requests = [{"PutRequest": {"Item": {"pk": {"S": str(n)}, **row}}} for n in range(start, start + 25)]
        assert not client.batch_write_item(RequestItems={table: requests})["UnprocessedItems"]
    assert client.describe_table(TableName=table)["Table"]["TableStatus"] == "ACTIVE"
    client.delete_table(TableName=table)
