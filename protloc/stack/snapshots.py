"""The manifest of a retraining's snapshot, in the models bucket."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from botocore.exceptions import ClientError

from protloc.stack.client import Client

READS_AT_ONCE = 8

View = dict[str, Any]


def with_proteins(client: Client, models: View) -> View:
    """Add to the API's `models` the number of proteins each version was trained on; None if unknown."""
    named = sorted({view["snapshot"] for view in models["models"] if view.get("snapshot")})
    client.client("s3")  # made once, before the threads
    with ThreadPoolExecutor(READS_AT_ONCE) as threads:
        counts = dict(zip(named, threads.map(lambda name: _trained_on(client, name), named), strict=True))
    return models | {
        "models": [view | {"proteins": counts.get(view.get("snapshot"))} for view in models["models"]]
    }


def _trained_on(client: Client, snapshot: str) -> int | None:
    try:
        response = client.client("s3").get_object(
            Bucket=client.outputs["ModelsBucket"], Key=f"snapshots/{snapshot}/manifest.json"
        )
    except ClientError:
        return None  # not there yet, or not for us to read
    proteins: int = json.loads(response["Body"].read())["splits"]["training"]["proteins"]
    return proteins
