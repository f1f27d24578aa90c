"""The predictions table: the rows of the result parts, one item each, for asking about single proteins.

Keys: pk is upload#shard and sk the offset, so that an upload reads in file order; the index `accession`
finds a protein across uploads, the index `location` the proteins of one location within an upload.
A record that is retried keeps its item: an answer replaces a failure, a failure never an answer. An item of a
model with labels of its own has their names (`names`), and where several are a protein's those that are
(`named`), by which a location's are found within an upload instead.
"""

from collections.abc import Iterable
from functools import cache, reduce
from operator import and_
from typing import Any, NamedTuple

from boto3.dynamodb.conditions import Attr, Key
from botocore.exceptions import ClientError

from functions.domain.locations import BETWEEN, TEN, LabelSet, labels_of
from functions.domain.rows import DERIVED, Row, columns_of, current, probability_columns
from functions.domain.upload import attempt_of, first_shard
from functions.services.dynamodb import (
    Item,
    delete_all,
    from_item,
    from_text,
    is_condition_failure,
    now_seconds,
    one_page,
    put_all,
    query_all,
    to_item,
    to_text,
)
from functions.services.wire import Database


class Wanted(NamedTuple):
    """A choice of rows by attributes of the table: all of them unless one is named."""

    confidence: float | None = None  # at least
    status: str | None = None
    uncertain: bool | None = None
    named: str | None = None  # a location among several
    accessions: tuple[str, ...] | None = None  # one of these; a hundred at most

    @property
    def expression(self) -> Any:
        """The filter of a query; None where all rows are wanted."""
        parts = [
            *([Attr("confidence").gte(to_item(self.confidence))] if self.confidence is not None else ()),
            *(
                Attr(name).eq(value)
                for name, value in (("status", self.status), ("uncertain", self.uncertain))
                if value is not None
            ),
            *([Attr("named").contains(self.named)] if self.named is not None else ()),
            *([Attr("accession").is_in(list(self.accessions))] if self.accessions is not None else ()),
        ]
        return reduce(and_, parts) if parts else None


ALL = Wanted()


class PredictionsTable:
    """Every row of every indexed upload."""

    def __init__(self, database: Database, name: str, days: int) -> None:
        self.database = database
        self.table = database.Table(name)
        self.days = days

    def put(self, upload_id: str, shard: int, rows: Iterable[Row], labels: LabelSet = TEN) -> None:
        """Store the rows of a shard of any attempt; `labels` are those of the upload's model version."""
        expires = now_seconds() + self.days * 86_400
        items = [_item(upload_id, first_shard(shard), row, expires, labels) for row in rows]
        put_all(self.database, self.table.name, (item for item in items if item["status"] != "failed"))
        for item in items:
            if item["status"] == "failed":
                self._put_failed(item, attempt_of(shard))

    def _put_failed(self, item: Item, attempt: int) -> None:
        """Store a failed row, unless a later attempt, or this one, has stored a better one."""
        try:
            self.table.put_item(
                Item=item | {"attempt": attempt},
                ConditionExpression=Attr("pk").not_exists() | Attr("attempt").lte(attempt),
            )
        except ClientError as error:
            if not is_condition_failure(error):
                raise

    def erase(self, upload_id: str, shards: int) -> None:
        """Delete every row of an upload that has so many shards."""
        for shard in range(shards):
            rows = query_all(
                self.table,
                KeyConditionExpression=Key("pk").eq(_partition(upload_id, shard)),
                ProjectionExpression="pk, sk",
                ConsistentRead=True,
            )
            delete_all(self.database, self.table.name, rows)

    def page(
        self, upload_id: str, shard: int, size: int, start: Item | None, wanted: Wanted = ALL
    ) -> tuple[list[Row], Item | None]:
        """Those rows of one shard that are wanted, in file order, and where the next page begins."""
        return self._query(Key("pk").eq(_partition(upload_id, shard)), (), size, start, wanted)

    def by_location(
        self, upload_id: str, location: str, size: int, start: Item | None, wanted: Wanted = ALL
    ) -> tuple[list[Row], Item | None]:
        condition = Key("upload_location").eq(f"{upload_id}#{location}")
        return self._query(condition, ("upload_location",), size, start, wanted, IndexName="location")

    def by_accession(self, accession: str, size: int, start: Item | None) -> tuple[list[Row], Item | None]:
        """Rows of every upload that holds this accession, each with its `upload`."""
        condition, keys = Key("accession").eq(accession), ("accession", "upload")
        return self._query(condition, keys, size, start, ALL, IndexName="accession")

    def _query(
        self,
        condition: Any,
        keys: tuple[str, ...],
        size: int,
        start: Item | None,
        wanted: Wanted,
        **index: str,
    ) -> tuple[list[Row], Item | None]:
        query: dict[str, Any] = {"KeyConditionExpression": condition, **index}
        if expression := wanted.expression:
            query["FilterExpression"] = expression
        items, following = one_page(self.table, ("pk", "sk", *keys), size, start, **query)
        return [_row(item) for item in items], following


def _partition(upload_id: str, shard: int) -> str:
    return f"{upload_id}#{shard:05d}"


def _item(upload_id: str, shard: int, row: Row, expires: int, labels: LabelSet) -> Item:
    probabilities = probability_columns(labels)
    kept_otherwise = {*probabilities, *(DERIVED if labels is TEN else ())}
    item: Item = to_item({name: value for name, value in row.items() if name not in kept_otherwise})
    item |= {
        "pk": _partition(upload_id, shard),
        "sk": f"{row['offset']:015d}",
        "upload": upload_id,
        "expires": expires,
    }
    if labels is not TEN:
        item["names"] = list(labels.names)
    if row["location"]:
        item["probabilities"] = to_text(row[column] for column in probabilities)
        if labels.several:
            item["named"] = row["location"].split(BETWEEN)
        else:
            item["upload_location"] = f"{upload_id}#{row['location']}"
    if not row["accession"]:
        item.pop("accession")  # an index key may not be empty
    return item


def _row(item: Item) -> Row:
    values = from_item(item)
    labels = _labels(tuple(values.get("names", ())))
    row: Row = {"upload": values["upload"]} | {column: values.get(column) for column in columns_of(labels)}
    if "probabilities" in values:  # older releases kept one value a location
        row |= zip(probability_columns(labels), from_text(values["probabilities"]), strict=True)
    row["accession"] = row["accession"] or ""
    return row if "names" in values else current(row, "remarks" in values)


@cache
def _labels(names: tuple[str, ...]) -> LabelSet:
    """Labels of these names; DeepLoc's ten where there are none."""
    return labels_of([{"name": name, "display": name, "go": ()} for name in names])
