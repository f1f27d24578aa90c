"""The models table: every model version, the active one, and the lock of a retraining.

    pk          sk          holds
    version     its name    state, reason, artifact, figures, snapshot, evaluation, execution
    alias       active      the active version, the one before it, and a revision that grows with each change
    lock        retraining  the execution that may change anything, its fence, until when, the last slot
    retraining  latest      the snapshot that was judged last, and how

States of a version: `training` → `hosting` → `in_service`; or `rejected` by the judge, or `failed`, with
`leftover` until it is sure that nothing of it is left. A version in service that is not the active one stands
by for a rollback, until `retire` takes it down: `retiring`, `retired`. The state machine writes all of it but
activations by hand (`activate`) and the writes of `retire`.
"""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

from boto3.dynamodb.conditions import Key
from botocore.exceptions import ClientError

from functions.domain.locations import TEN, LabelSet, read_labels
from functions.services.dynamodb import Item, from_item, now_seconds, query_all, update_if
from functions.services.wire import Table

ALIAS = {"pk": "alias", "sk": "active"}
LOCK = {"pk": "lock", "sk": "retraining"}
LATEST = {"pk": "retraining", "sk": "latest"}
SOURCE = {"pk": "source", "sk": "training"}
UNFINISHED = ("training", "hosting")
GONE = ("retiring", "retired")

_ATTEMPTS = 5


class Alias(NamedTuple):
    """The version that new uploads are pinned to."""

    version: str = ""  # empty before the first
    revision: int = 0
    previous: str = ""
    changed: int = 0  # epoch seconds


class ModelsTable:
    """The model versions of the stack."""

    def __init__(self, table: Table) -> None:
        self.table = table

    def alias(self) -> Alias:
        item = from_item(self._get(ALIAS))
        return Alias(**{name: item[name] for name in Alias._fields if name in item})

    def active(self) -> str | None:
        """The version that new uploads are pinned to."""
        return self.alias().version or None

    def get(self, version: str) -> Item | None:
        item: Item = from_item(self._get(_key(version)))
        return item or None

    def labels(self, version: str) -> LabelSet:
        """The locations that a version tells apart."""
        return read_labels((self.get(version) or {}).get("labels", "")) if version else TEN

    def all(self) -> list[Item]:
        """Every version, newest first."""
        items = [
            from_item(item) for item in query_all(self.table, KeyConditionExpression=Key("pk").eq("version"))
        ]
        return sorted(items, key=lambda item: str(item.get("created", "")), reverse=True)

    def latest(self) -> Item:
        """The last retraining that was judged; empty before the first."""
        latest: Item = from_item(self._get(LATEST))
        return latest

    def source(self) -> str:
        """The s3:// address of the training program; empty where none was uploaded."""
        return str(self._get(SOURCE).get("uri", ""))

    def activate(self, version: str, alias_before: Alias) -> bool:
        """Make a version that is in service the active one; say whether nothing changed meanwhile."""
        values = {
            ":version": version,
            ":previous": alias_before.version,
            ":revision": alias_before.revision,
            ":next": alias_before.revision + 1,
            ":now": now_seconds(),
        }
        alias = {
            "Key": ALIAS,
            "UpdateExpression": "SET #version = :version, previous = :previous, "
            "revision = :next, changed = :now",
            "ConditionExpression": "revision = :revision",
            "ExpressionAttributeNames": {"#version": "version"},
            "ExpressionAttributeValues": values,
        }
        return self._transact({"Update": alias}, {"ConditionCheck": _in_state(version, "in_service")})

    def begin_retiring(self, version: str, alias_before: Alias, reason: str) -> bool:
        """Take a version out of service; say whether it was in service and the alias is still as found."""
        alias = {
            "Key": ALIAS,
            "ConditionExpression": "revision = :revision",
            "ExpressionAttributeValues": {":revision": alias_before.revision},
        }
        return self._transact(
            {"ConditionCheck": alias}, {"Update": _retiring(version, "in_service", "retired", reason)}
        )

    def begin_removing(self, version: str, state: str, reason: str) -> bool:
        """Begin to take away the remains of a version; say whether it still was in that state."""
        return update_if(self.table, **_retiring(version, state, "failed", reason))

    def note_deletion(self, version: str) -> bool:
        """SageMaker promised to delete a version's component; say whether it was being taken down."""
        update = _in_state(version, "retiring") | {"UpdateExpression": "SET deletion = :promised"}
        update["ExpressionAttributeValues"] |= {":promised": "promised"}
        return update_if(self.table, **update)

    def end_retiring(self, version: str) -> bool:
        """Nothing is left of a version; say whether it was being taken down."""
        expression = "SET #state = ends_as REMOVE ends_as, leftover, deletion"
        return update_if(self.table, **_in_state(version, "retiring"), UpdateExpression=expression)

    def holder(self) -> str | None:
        """The execution that holds the lock."""
        holder = self._get(LOCK).get("holder")
        return str(holder) if holder else None

    def free_lock(self, holder: str) -> bool:
        """Free the lock of an execution that is over; say whether it still held it."""
        return update_if(
            self.table,
            Key=LOCK,
            UpdateExpression="SET expires = :never REMOVE holder",
            ConditionExpression="holder = :holder",
            ExpressionAttributeValues={":never": 0, ":holder": holder},
        )

    def _get(self, key: Item) -> Item:
        return dict(self.table.get_item(Key=key, ConsistentRead=True).get("Item", {}))

    def _try(self, write: Callable[[], object]) -> None:
        """Write, again where another transaction came between or there was too much to do."""
        for attempt in range(_ATTEMPTS):
            try:
                write()
                return
            except ClientError as error:
                code = error.response["Error"]["Code"]
                cancelled = code == "TransactionCanceledException" and not _is_changed(error)
                if attempt == _ATTEMPTS - 1 or not cancelled:
                    raise
            time.sleep(0.05 * 2**attempt)

    def _transact(self, *parts: dict[str, Item]) -> bool:
        """Write all parts or none; say which."""
        named: list[Any] = [
            {kind: {"TableName": self.table.name, **part} for kind, part in each.items()} for each in parts
        ]
        try:
            self._try(lambda: self.table.database.transact_write_items(TransactItems=named))
        except ClientError as error:
            if not _is_changed(error):
                raise
            return False
        return True


def _is_changed(error: ClientError) -> bool:
    """True if a transaction was cancelled by one of its conditions; conflicts and throttling are tried again.

    https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html
    """
    reasons: Any = error.response.get("CancellationReasons", [])
    return any(reason.get("Code") == "ConditionalCheckFailed" for reason in reasons)


def _key(version: str) -> Item:
    return {"pk": "version", "sk": version}


def _in_state(version: str, state: str) -> Item:
    return {
        "Key": _key(version),
        "ConditionExpression": "#state = :before",
        "ExpressionAttributeNames": {"#state": "state"},
        "ExpressionAttributeValues": {":before": state},
    }


def _retiring(version: str, before: str, after: str, reason: str) -> Item:
    expression = "SET #state = :retiring, ends_as = :after, reason = :reason"
    update = _in_state(version, before) | {"UpdateExpression": expression}
    update["ExpressionAttributeValues"] |= {":retiring": "retiring", ":after": after, ":reason": reason}
    return update
