"""The training program as an archive, named by its content: every job of SageMaker unpacks and runs it."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

PACKAGE = Path(__file__).parent


def archive() -> bytes:
    """The training program as sourcedir.tar.gz: the same bytes for the same files."""
    # The containers install the packages of a requirements.txt beside the program.
    files = {"requirements.txt": PACKAGE / "requirements-training.txt"}
    files |= {
        f"model/{path.relative_to(PACKAGE)}": path
        for path in PACKAGE.rglob("*")
        if path.suffix == ".py" or path.match("requirements*.txt")
    }
    buffer = io.BytesIO()
    with (
        gzip.GzipFile(filename="", fileobj=buffer, mode="wb", mtime=0) as compressed,
        tarfile.open(fileobj=compressed, mode="w") as tar,
    ):
        for name in sorted(files):
            content = files[name].read_bytes()
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o644
            tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def key_of(content: bytes) -> str:
    """The key of an archive of the program: named by its content, so that none replaces another."""
    return f"code/{hashlib.sha256(content).hexdigest()[:32]}/sourcedir.tar.gz"


def publish(client: Callable[[str], Any], bucket: str, table: str) -> str:
    """Put the training program into the models bucket, named by its content, and have retrainings take it.

    A retraining pins the one in the models table when it begins; programs of others stay beside it.
    """
    content = archive()
    key = key_of(content)
    s3 = client("s3")
    try:
        s3.head_object(Bucket=bucket, Key=key)
    except ClientError as problem:
        if problem.response["ResponseMetadata"]["HTTPStatusCode"] not in (403, 404):
            raise  # 403: the caller may not list the bucket
        s3.put_object(Bucket=bucket, Key=key, Body=content)
    uri = f"s3://{bucket}/{key}"
    item = {"pk": {"S": "source"}, "sk": {"S": "training"}, "uri": {"S": uri}}
    client("dynamodb").put_item(TableName=table, Item=item)
    return uri
