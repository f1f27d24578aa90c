"""Rows of tables lie on disk, and file and state are together what the tables held when the state was taken."""

from __future__ import annotations

import copy
import json
import random
import sqlite3
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from protloc.cloud import lifecycle
from protloc.cloud.engine.generations import STATE, Generations, LostStateError
from protloc.cloud.engine.row_file import FILE, DamagedRowError
from protloc.cloud.engine.rows import Layout, Rows
from protloc.cloud.engine.tables import Partition
from tests.cloud.conftest import Stack
from tests.cloud.test_lifecycle import killed, saved
from tests.waiting import until

PLAIN = Layout((), "")


class Disk:
    """A table's rows and the states beside them, as a cloud keeps them."""

    def __init__(self, folder: Path, recover: bool = False) -> None:
        self.states = Generations(folder, folder)
        state = self.states.read(objects_exist=False, recover=recover)
        self.rows = Rows(folder)
        self.rows.open(state["rows"] if state else None, self.states.number, recover)
        self.state = state or {}
        self.table = self.rows.number("table", PLAIN)

    def save(self, settle: bool = True) -> None:
        """Save as `state.Saver` does; without `settle`, as one that is killed right after the state was written."""
        self.states.write({"rows": self.rows.captured()})
        self.rows.begin(self.states.number + 2)
        self.states.advance()
        if settle:
            self.rows.settle(self.states.number)

    def put(self, pk: str, sk: str, item: dict[str, Any] | None, part: str = "") -> None:
        parts = [("index", json.dumps(part).encode())] if part else []
        self.rows.put(self.table, (pk, sk), item, parts)

    def content(self) -> dict[str, dict[str, Any]]:
        held = {pk: self.rows.partition(self.table, pk) for pk in self.rows.partitions(self.table)}
        for pk, rows in held.items():
            assert rows == {sk: self.rows.get(self.table, (pk, sk)) for sk in rows}
        return held

    def in_memory(self) -> int:
        return sum(len(rows) for rows in self.rows._recent.get(self.table, {}).values())


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    disk = Disk(tmp_path)
    yield disk
    disk.rows.file.close()


@pytest.mark.parametrize("seed", range(25))
def test_the_rows_are_those_of_the_newest_state_whenever_the_cloud_dies(tmp_path: Path, seed: int) -> None:
    draw = random.Random(seed)
    disk = Disk(tmp_path)
    now: dict[str, dict[str, Any]] = defaultdict(dict)
    parts: dict[tuple[str, str], str] = {}
    kept: list[Any] = []  # in the newest two states
    for step in range(120):
        action = draw.random()
        pk, sk, part = draw.choice("ab"), draw.choice("123456\ud800ü"), draw.choice(["", "x", "y"])
        if action < 0.55:
            now[pk][sk], parts[pk, sk] = {"n": {"N": str(step)}}, part
            disk.put(pk, sk, now[pk][sk], part)
        elif action < 0.75:
            now[pk].pop(sk, None)
            parts.pop((pk, sk), None)
            disk.put(pk, sk, None)
        elif action < 0.92:
            kept = [*kept[-1:], copy.deepcopy((dict(now), parts))]
            disk.save(settle=draw.random() < 0.8)
        else:
            disk.rows.file.close()
            recover = len(kept) == 2 and draw.random() < 0.3
            if recover:
                (tmp_path / STATE).write_bytes(b"damaged")
                kept.pop()
            disk = Disk(tmp_path, recover)
            rows, places = copy.deepcopy(kept[-1]) if kept else ({}, {})
            now, parts = defaultdict(dict, rows), places
            if recover:
                disk.save()
        assert disk.content() == {pk: rows for pk, rows in now.items() if rows}
        for name in "xy":
            members = [key for key, part in parts.items() if part == name]
            assert sorted(disk.rows.members(disk.table, "index", name)) == sorted(members)
    disk.rows.file.close()


def test_only_rows_that_were_written_lately_are_in_memory(disk: Disk) -> None:
    for number in range(100):
        disk.put("p", str(number), {"n": {"N": str(number)}})
    disk.save()
    assert disk.in_memory() == 100
    disk.put("p", "last", {"n": {"N": "100"}})
    disk.save()
    assert disk.in_memory() == 1
    assert len(disk.rows.captured()["rows"][disk.table]["p"]) == 1, "a state holds what changed"
    assert len(disk.content()["p"]) == 101


def test_a_row_that_is_written_while_the_file_is_stays_the_newer(
    disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = disk.rows.file.write

    def rewritten(*arguments: Any) -> None:
        write(*arguments)
        disk.put("p", "1", {"n": {"N": "2"}})

    disk.put("p", "1", {"n": {"N": "1"}})
    disk.save()
    monkeypatch.setattr(disk.rows.file, "write", rewritten)
    disk.save()
    assert disk.content() == {"p": {"1": {"n": {"N": "2"}}}}


def test_rows_stay_in_memory_while_the_file_cannot_take_them(disk: Disk) -> None:
    disk.save()
    (pages,) = disk.rows.file.writing.execute("PRAGMA page_count").fetchone()
    disk.rows.file.writing.execute(f"PRAGMA max_page_count = {pages}")
    for number in range(200):
        disk.put("p", str(number), {"text": {"S": "x" * 1000}})
    disk.save()
    disk.save()
    assert disk.in_memory() == len(disk.content()["p"]) == 200
    disk.rows.file.writing.execute("PRAGMA max_page_count = 1000000")
    disk.save()
    assert (disk.in_memory(), len(disk.content()["p"])) == (0, 200)


def test_a_row_is_read_written_and_deleted_without_reading_its_partition(
    disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Table:
        store, owner = disk.rows, disk.table

        def put(self, key: tuple[str, str], item: dict[str, Any]) -> None:
            self.store.put(self.owner, key, item)

    rows = Partition(Table(), "p")  # type: ignore[arg-type]
    with monkeypatch.context() as patched:
        patched.setattr(Rows, "partition", None)
        rows["1"] = {"n": {"N": "1"}}
        disk.save()
        disk.save()
        assert rows.get("1") == rows.pop("1", None) == {"n": {"N": "1"}}
        assert rows and "1" not in rows and rows.pop("1", None) is None
    assert dict(rows) == {}


def test_a_deleted_table_leaves_the_file_once_no_state_has_it(disk: Disk) -> None:
    disk.put("p", "1", {"text": {"S": "SECRET"}})
    disk.save()
    disk.save()
    disk.rows.present = list
    disk.save()
    assert disk.content(), "the state before has the table"
    disk.save()
    disk.save()
    disk.rows.file.close()
    folder = disk.rows.file.path.parent
    assert not [path for path in folder.glob(FILE + "*") if b"SECRET" in path.read_bytes()]
    disk.__init__(folder)  # type: ignore[misc]
    assert disk.rows.number("another", PLAIN) != disk.table


def filled(disk: Disk) -> Path:
    """The file of a disk that ended, with a row in it that no state has."""
    disk.put("p", "1", {"text": {"S": "kept"}})
    for _ in range(3):
        disk.save()
    assert disk.in_memory() == 0
    disk.rows.file.close()
    return disk.rows.file.path


def flip(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content.replace(b"kept", b"lost"))


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (lambda path: path.unlink(), "missing"),
        (lambda path: path.write_bytes(b"no database, but as long as one" * 100), "damaged"),
        (lambda path: path.write_bytes(b""), "not that of this state"),
    ],
)
def test_a_file_that_is_not_the_one_of_the_state_is_reported(disk: Disk, loss: Any, message: str) -> None:
    path = filled(disk)
    loss(path)
    with pytest.raises(LostStateError, match=message) as refused:
        Disk(path.parent)
    assert "protloc up --recover" in str(refused.value)
    disk.__init__(path.parent, recover=True)  # type: ignore[misc]
    assert disk.content() == {}
    disk.put("p", "2", {"text": {"S": "new"}})
    disk.save()
    assert disk.content() == {"p": {"2": {"text": {"S": "new"}}}}


def test_a_file_of_a_cloud_that_was_killed_before_its_first_state_leaves_nothing(disk: Disk) -> None:
    folder = disk.rows.file.path.parent
    disk.put("p", "1", {"n": {"N": "1"}})
    disk.rows.file.close()
    disk.__init__(folder)  # type: ignore[misc]
    assert disk.content() == {}
    assert sorted(path.name for path in folder.glob(FILE + ".*")) == []


def test_an_older_file_is_reported(disk: Disk) -> None:
    folder = disk.rows.file.path.parent
    older = filled(disk).read_bytes()
    disk.__init__(folder)  # type: ignore[misc]
    disk.put("p", "2", {"text": {"S": "later"}})
    path = filled(disk)
    path.write_bytes(older)
    with pytest.raises(LostStateError, match="of another time than the state"):
        Disk(folder)
    disk.__init__(folder, recover=True)  # type: ignore[misc]


def test_a_damaged_row_is_an_error_and_no_answer(disk: Disk) -> None:
    path = filled(disk)
    flip(path)
    disk.__init__(path.parent)  # type: ignore[misc]
    with pytest.raises(DamagedRowError, match="checksum"):
        disk.content()


def table(stack: Stack) -> Any:
    """A table that has an index, and whose rows expire."""
    client = stack.client("dynamodb")
    client.create_table(
        TableName="indexed",
        BillingMode="PAY_PER_REQUEST",
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk", "kind")],
        GlobalSecondaryIndexes=[
            {
                "IndexName": "kinds",
                "KeySchema": [{"AttributeName": "kind", "KeyType": "HASH"}],
                "Projection": {"ProjectionType": "ALL"},
            }
        ],
    )
    client.update_time_to_live(
        TableName="indexed", TimeToLiveSpecification={"Enabled": True, "AttributeName": "expires"}
    )
    return client


def row(number: int, kind: str, expires: float = 0) -> dict[str, Any]:
    item = {"pk": {"S": f"p{number % 3}"}, "sk": {"S": f"{number:04}"}, "kind": {"S": kind}}
    return item | ({"expires": {"N": str(int(expires))}} if expires else {})


def settled(stack: Stack) -> None:
    """Wait until the file has the rows that were written: until two more states are saved."""
    for _ in range(2):
        stack.client("sqs").create_queue(QueueName="changes")
        stack.client("sqs").delete_queue(
            QueueUrl=stack.client("sqs").get_queue_url(QueueName="changes")["QueueUrl"]
        )
        saved(stack)
    file = sqlite3.connect(f"file:{stack.cloud.home / 'state' / FILE}?mode=ro", uri=True)
    until(lambda: file.execute("SELECT count(*) FROM rows").fetchone()[0])
    file.close()


def numbers(answer: dict[str, Any]) -> list[int]:
    return [int(item["sk"]["S"]) for item in answer["Items"]]


def of_kind(client: Any, kind: str) -> list[int]:
    return sorted(
        numbers(
            client.query(
                TableName="indexed",
                IndexName="kinds",
                KeyConditionExpression="kind = :kind",
                ExpressionAttributeValues={":kind": {"S": kind}},
            )
        )
    )


def test_a_table_answers_alike_from_its_file_and_from_memory(own_stack: Stack) -> None:
    client = table(own_stack)
    for number in range(30):
        client.put_item(TableName="indexed", Item=row(number, "even" if number % 2 == 0 else "odd"))
    settled(own_stack)
    again = killed(own_stack)
    client = again.client("dynamodb")
    client.delete_item(TableName="indexed", Key={"pk": {"S": "p0"}, "sk": {"S": "0000"}})
    client.put_item(TableName="indexed", Item=row(2, "odd"))
    client.put_item(TableName="indexed", Item=row(30, "even"))
    assert of_kind(client, "even") == [*range(4, 30, 2), 30]
    assert of_kind(client, "odd") == sorted([2, *range(1, 30, 2)])
    partition = client.query(
        TableName="indexed",
        KeyConditionExpression="pk = :pk AND sk > :sk",
        ExpressionAttributeValues={":pk": {"S": "p0"}, ":sk": {"S": "0010"}},
    )
    assert numbers(partition) == [12, 15, 18, 21, 24, 27, 30]
    scanned = client.scan(TableName="indexed")
    assert sorted(numbers(scanned)) == [*range(1, 31)]
    changed = client.update_item(
        TableName="indexed",
        Key={"pk": {"S": "p1"}, "sk": {"S": "0001"}},
        UpdateExpression="SET kind = :kind",
        ExpressionAttributeValues={":kind": {"S": "first"}},
        ReturnValues="ALL_NEW",
    )
    assert changed["Attributes"]["kind"]["S"] == "first"
    assert of_kind(client, "first") == [1]
    assert client.describe_table(TableName="indexed")["Table"]["ItemCount"] == 30
    client.delete_table(TableName="indexed")
    client = table(Stack(again, own_stack.outputs))
    assert client.scan(TableName="indexed")["Items"] == []


def test_an_index_that_is_added_later_finds_the_rows_there_were(own_stack: Stack) -> None:
    client = own_stack.client("dynamodb")
    name = own_stack.outputs["Table"]
    client.put_item(TableName=name, Item={"pk": {"S": "a"}, "sk": {"S": "1"}, "kind": {"S": "x"}})
    client.update_table(
        TableName=name,
        AttributeDefinitions=[{"AttributeName": "kind", "AttributeType": "S"}],
        GlobalSecondaryIndexUpdates=[
            {
                "Create": {
                    "IndexName": "later",
                    "KeySchema": [{"AttributeName": "kind", "KeyType": "HASH"}],
                    "Projection": {"ProjectionType": "ALL"},
                }
            }
        ],
    )
    answer = client.query(
        TableName=name,
        IndexName="later",
        KeyConditionExpression="kind = :kind",
        ExpressionAttributeValues={":kind": {"S": "x"}},
    )
    assert [item["pk"]["S"] for item in answer["Items"]] == ["a"]


def test_rows_of_an_earlier_release_are_taken_over(own_stack: Stack) -> None:
    """States of earlier releases held all rows."""
    client = table(own_stack)
    client.put_item(TableName="indexed", Item=row(1, "odd"))
    home = own_stack.cloud.home
    lifecycle.down(home)
    states = Generations(home / "state", home / "s3")
    state = states.read(objects_exist=True)
    assert state is not None
    (number,) = (n for identity, (n, layout) in state["rows"]["tables"].items() if layout[0])
    ((_, rows),) = state["rows"]["rows"][number].items()
    item = json.loads(next(iter(rows.values()))[0][4:])
    for described in state["services"]["dynamodb"]["tables"].all_values():
        if described["TableName"] == "indexed":
            described["items"] = {"p1": {"0001": item}}
            described["_index_members"] = {}
    del state["rows"]
    states.write(state, last=True)
    (home / "state" / FILE).unlink()
    again = lifecycle.up(home)
    assert of_kind(again.client("dynamodb"), "odd") == [1]


def test_a_row_that_expired_is_removed_wherever_it_is(disk: Disk) -> None:
    now = time.time()
    for number, expires in enumerate((now - 10, now + 1000, now - 10)):
        disk.rows.put(disk.table, ("p", str(number)), {"n": {"N": "1"}}, (), expires)
        if number < 2:
            disk.save()
    disk.save()
    disk.rows.put(disk.table, ("p", "4"), {"n": {"N": "1"}}, (), now - 1)
    assert sorted(disk.rows.expired(disk.table, now)) == [("p", "0"), ("p", "2"), ("p", "4")]
    disk.rows.put(disk.table, ("p", "0"), {"n": {"N": "2"}}, (), now + 1000)
    assert sorted(disk.rows.expired(disk.table, now)) == [("p", "2"), ("p", "4")]
