"""S3 as one role sees it: through the cloud's own front door, with that role's permissions."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import boto3
from botocore.config import Config


class Storage(Protocol):
    """Files in and out; URIs are `s3://bucket/key`."""

    def fetch(self, uri: str, path: Path) -> None: ...

    def fetch_prefix(self, uri: str, folder: Path, may_be_empty: bool = False) -> None: ...

    def store(self, path: Path, uri: str) -> None: ...

    def remove(self, uri: str) -> None: ...


class S3AsRole:
    """S3 for one role; every call checks the role anew."""

    def __init__(self, endpoint_url: str, region: str, credentials: dict[str, str]) -> None:
        config = Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 3}, proxies={})
        key = credentials["aws_access_key_id"], credentials["aws_secret_access_key"]
        session = boto3.Session(*key, credentials["aws_session_token"], region)
        self._client: Any = session.client("s3", endpoint_url=endpoint_url, config=config)

    def fetch(self, uri: str, path: Path) -> None:
        bucket, key = _split(uri)
        self._client.download_file(bucket, key, str(path))

    def fetch_prefix(self, uri: str, folder: Path, may_be_empty: bool = False) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        bucket, prefix = _split(uri)
        keys = [
            item["Key"]
            for page in self._client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
            for item in page.get("Contents", [])
        ]
        if not keys and not may_be_empty:
            raise FileNotFoundError(f"expected objects under {uri}, found none")
        base = prefix if prefix.endswith("/") else prefix.rpartition("/")[0]
        for key in keys:
            name = key[len(base) :].lstrip("/")
            target = (folder / name).resolve()
            if name and not key.endswith("/") and target.is_relative_to(folder.resolve()):
                target.parent.mkdir(parents=True, exist_ok=True)
                self._client.download_file(bucket, key, str(target))

    def store(self, path: Path, uri: str) -> None:
        bucket, key = _split(uri)
        self._client.upload_file(str(path), bucket, key)

    def remove(self, uri: str) -> None:
        bucket, key = _split(uri)
        self._client.delete_object(Bucket=bucket, Key=key)


def _split(uri: str) -> tuple[str, str]:
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return bucket, key
