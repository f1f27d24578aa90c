"""The clients of AWS's services, made in a third of the time: they are a third of a cold start.

Before botocore makes a client it looks through the folders of all its 400 services, and reads JSON into
ordered dictionaries: both are its loader's, which a session lets be replaced. And the garbage collector goes
through all that is read again and again, although all of it stays.
"""

import gc
import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import boto3
import botocore.session
import orjson
from botocore.config import Config
from botocore.loaders import JSONFileLoader, Loader

SERVICES = ["dynamodb", "events", "s3", "sagemaker-runtime", "secretsmanager", "sqs"]


class _Files(JSONFileLoader):
    """Files of JSON, also packed."""

    def load_file(self, file_path: str) -> Any:
        """The content of a file, given without its ending; None where there is none."""
        for ending, unpack in ((".json", bytes), (".json.gz", gzip.decompress)):
            if (path := Path(file_path + ending)).is_file():
                return orjson.loads(unpack(path.read_bytes()))
        return None


class _Models(Loader):
    """botocore's descriptions of the services that the functions ask on each path."""

    FILE_LOADER_CLASS = _Files

    def list_available_services(self, type_name: str) -> list[str]:
        return SERVICES


def client(service: str, config: Config | None = None) -> Any:
    """A new client of boto3's for one of `SERVICES`."""
    with _uncollected():
        make: Any = _session().client  # typed by a literal for each service
        return make(service, config=config)


@cache
def _session() -> boto3.Session:
    core = botocore.session.get_session()
    core.register_component("data_loader", _Models())
    return boto3.Session(botocore_session=core)


@contextmanager
def _uncollected() -> Iterator[None]:
    """Pauses the garbage collector."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()
