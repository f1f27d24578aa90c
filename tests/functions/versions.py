"""Model versions in the table, and the inputs of a retraining, as tests put them there."""

from typing import Any

from functions.services.models_table import ALIAS, SOURCE
from tests.functions.world import World

LABELS = b"".join(b">P%d Nucleus-S\nMKV\n" % number for number in range(350))


def table(world: World) -> Any:
    return world.database.Table("ModelsTable")


def version(world: World, name: str, state: str = "in_service", **others: Any) -> None:
    item = {"pk": "version", "sk": name, "state": state, "artifact": f"s3://models/{name}", **others}
    table(world).put_item(Item=item)


def alias(world: World, name: str, previous: str = "", changed: int = 0, revision: int = 1) -> None:
    item = {"version": name, "previous": previous, "revision": revision, "changed": changed}
    table(world).put_item(Item=ALIAS | item)


def state(world: World, name: str) -> str:
    return str(world.aws.models.get(name)["state"])  # type: ignore[index]


def put(world: World, key: str, body: bytes = LABELS, bucket: str = "uploads") -> None:
    world.s3.put_object(Bucket=bucket, Key=key, Body=body)


def program(world: World, uri: str) -> None:
    table(world).put_item(Item=SOURCE | {"uri": uri})
