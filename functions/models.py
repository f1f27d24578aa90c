"""The models table: every model version, and the alias that says which one is active.

Keys: pk `version`, sk the version's name; pk `alias`, sk `active`. The state machine writes it, and promotes
by one conditional write on the alias; the functions only read.
"""

from typing import TYPE_CHECKING

from boto3.dynamodb.conditions import Key

from functions.tables import Item, from_item, query_all

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.service_resource import Table


class ModelsTable:
    """The model versions of the stack."""

    def __init__(self, table: "Table") -> None:
        self.table = table

    def active(self) -> str | None:
        """The version that new uploads are pinned to."""
        answer = self.table.get_item(Key={"pk": "alias", "sk": "active"}, ConsistentRead=True)
        version = answer.get("Item", {}).get("version")
        return str(version) if version else None

    def get(self, version: str) -> Item | None:
        answer = self.table.get_item(Key={"pk": "version", "sk": version}, ConsistentRead=True)
        return from_item(answer["Item"]) if "Item" in answer else None

    def all(self) -> list[Item]:
        """Every version, newest first."""
        items = [
            from_item(item) for item in query_all(self.table, KeyConditionExpression=Key("pk").eq("version"))
        ]
        return sorted(items, key=lambda item: str(item.get("created", "")), reverse=True)
