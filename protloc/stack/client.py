"""The client of a deployed stack: files in, status and answers out.

Needs nothing but a session, the stack's outputs and where its API answers, so the embedded cloud and AWS look
alike from here. Files go straight to S3 and results come straight from it; everything between is asked of the
API, with signed requests. An upload's id is known as soon as the file is stored, before anybody has seen it.
"""

from __future__ import annotations

import re
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import IO, Any, NamedTuple
from urllib.parse import quote, urlsplit

import boto3
from boto3.s3.transfer import TransferConfig
from botocore.utils import get_environ_proxies

from functions.domain.organisms import ORGANISM
from functions.domain.submission import object_key
from functions.domain.upload import FINAL_STATUSES, upload_id
from protloc.errors import ModelAway, Unreachable, UploadProblem, UsageProblem
from protloc.stack.account import is_embedded, outputs_of, session
from protloc.stack.api import ANSWERED_LATER, RETRIED_STATUSES, Api, View, checked

MIB = 1024 * 1024
TRANSFER = TransferConfig(multipart_threshold=16 * MIB, multipart_chunksize=16 * MIB, max_concurrency=4)
FIRST_POLL_SECONDS, LAST_POLL_SECONDS = 0.2, 2.0

UPLOAD_ID = re.compile(r"[a-z2-7]{26}")


class Sent(NamedTuple):
    """A file that is in the uploads bucket."""

    upload_id: str
    bucket: str
    key: str
    version_id: str
    size: int


class Client:
    """One stack, seen from outside."""

    def __init__(
        self,
        outputs: Mapping[str, str],
        api_url: str,
        session: boto3.Session,
        make_client: Callable[[str], Any] | None = None,
        proxies: Mapping[str, str] | None = None,
        answer_seconds: int = 60,
    ) -> None:
        self.outputs = outputs
        self.region = session.region_name or "us-east-1"
        self.api = Api(api_url, session, self.region, proxies, answer_seconds)
        self._make_client = make_client or session.client
        self._clients: dict[str, Any] = {}

    @property
    def api_url(self) -> str:
        return self.api.url

    def client(self, service: str) -> Any:
        """A boto3 client of the account the stack is in."""
        if service not in self._clients:
            self._clients[service] = self._make_client(service)
        return self._clients[service]

    # Files in

    def send(
        self,
        file: IO[bytes],
        name: str,
        progress: Callable[[int], None] | None = None,
        organism: str | None = None,
    ) -> Sent:
        """Stream a file into the uploads bucket; `progress` is told the bytes sent so far.

        `organism` travels as the object's own metadata, which may hold ASCII only.
        """
        bucket, key = self.outputs["UploadsBucket"], upload_key(name)
        counted = _Counted(progress) if progress else None
        s3 = self.client("s3")
        extra = {"Metadata": {ORGANISM: organism}} if organism else None
        s3.upload_fileobj(file, bucket, key, ExtraArgs=extra, Config=TRANSFER, Callback=counted)
        stored = s3.head_object(Bucket=bucket, Key=key)
        version_id = stored.get("VersionId") or "null"
        return Sent(upload_id(bucket, key, version_id), bucket, key, version_id, stored["ContentLength"])

    # Status

    def upload(self, upload: str) -> View:
        """An upload as it stands. Raises UsageProblem where there is none of this name."""
        view = self.find_upload(upload)
        if view is None:
            raise UsageProblem(unknown(upload))
        return view

    def find_upload(self, upload: str) -> View | None:
        if not UPLOAD_ID.fullmatch(upload):
            raise UsageProblem(f"an upload's name is 26 letters a-z and digits, found {upload!r}")
        status, answer, _ = self.api.get(f"/uploads/{quote(upload, safe='')}")
        return None if status == HTTPStatus.NOT_FOUND else checked(status, answer)

    def uploads(self) -> Iterator[View]:
        """All uploads, newest first, read page by page as they are asked for."""
        yield from self.api.pages("/uploads", "uploads")

    def predictions(self, upload: str, location: str | None = None) -> Iterator[View]:
        """The rows of an upload that the API holds, all or those of one location."""
        path = f"/uploads/{quote(upload, safe='')}/predictions"
        yield from self.api.pages(path, "predictions", **({"location": location} if location else {}))

    def protein(self, accession: str) -> Iterator[View]:
        """Every row of a protein of this accession, of all uploads that the API holds."""
        yield from self.api.pages(f"/proteins/{quote(accession, safe='')}", "predictions")

    def explanation(self, upload: str, offset: int) -> View:
        """Fetch the explanation of the answer for the row at this offset.

        Raises UsageProblem where there is nothing to explain, ModelAway where no model is there to ask.
        """
        path = f"/uploads/{quote(upload, safe='')}/predictions/{offset}/explanation"
        # A model that wakes takes minutes, and one that is busy need not be asked again at once.
        status, answer, _ = self.api.ask("GET", path, retried=RETRIED_STATUSES - ANSWERED_LATER)
        if status in ANSWERED_LATER and "detail" in answer:
            kind = Unreachable if status == HTTPStatus.BAD_GATEWAY else ModelAway
            raise kind(str(answer["detail"]))
        return checked(status, answer)

    def models(self) -> View:
        """`models`, newest first; which of them is `active`, which was so before (`previous`), and the
        `revision` that grows with each change.
        """
        status, answer, _ = self.api.get("/models")
        return checked(status, answer)

    def activate(self, version: str, revision: int) -> View:
        """Make a hosted version the active one, if the alias still has this revision; the alias then.

        Raises UsageProblem where the version is not hosted, or something else was activated meanwhile.
        """
        request = {"version": version, "revision": revision}
        status, answer, _ = self.api.ask("PUT", "/models/active", request)
        if status == HTTPStatus.CONFLICT:
            now = self.models()
            if (now["active"], now["revision"]) == (version, revision + 1):
                return now  # asked twice: the first answer was lost
        return checked(status, answer)

    def wait(
        self,
        upload: str,
        tell: Callable[[View | None], None],
        timeout_seconds: float | None,
        unseen_seconds: float | None = None,
    ) -> View:
        """Follow an upload to its end, handing `tell` its view: None while the stack has not seen it.

        Raises UploadProblem when `timeout_seconds` are over; the upload goes on. Raises UsageProblem when
        after `unseen_seconds` there still is none of this name.
        """
        began = time.monotonic()
        pause = FIRST_POLL_SECONDS
        while True:
            view = self.find_upload(upload)
            tell(view)
            if view is not None and view["status"] in FINAL_STATUSES:
                return view
            if view is None and unseen_seconds is not None and time.monotonic() - began > unseen_seconds:
                raise UsageProblem(unknown(upload))
            if timeout_seconds is not None and time.monotonic() - began + pause > timeout_seconds:
                raise UploadProblem(f"not done within {timeout_seconds:g} s")
            time.sleep(pause)
            pause = min(pause * 1.2, LAST_POLL_SECONDS)

    def retry(self, upload: str) -> View:
        """Begin another attempt at the records of an upload that failed, and return how it stands then.

        Raises UsageProblem where the upload is still in work or no record failed.
        """
        attempt = self.upload(upload)["attempts"] + 1
        # Named by its number, so that a request repeated after a lost answer begins one attempt.
        path = f"/uploads/{quote(upload, safe='')}/attempts/{attempt}"
        status, answer, _ = self.api.ask("PUT", path)
        checked(status, answer)
        return self.upload(upload)

    def cancel(self, upload: str) -> View:
        """End an upload that is in work with the answers it has, and return its state then.

        Raises UsageProblem where every record of it has ended.
        """
        status, answer, _ = self.api.ask("POST", f"/uploads/{quote(upload, safe='')}/cancel")
        checked(status, answer)
        return self.upload(upload)

    def delete(self, upload: str) -> None:
        """Delete an upload for good, with its file and results. Raises UsageProblem where there is none."""
        status, answer, _ = self.api.ask("DELETE", f"/uploads/{quote(upload, safe='')}")
        if status == HTTPStatus.NOT_FOUND:
            raise UsageProblem(unknown(upload))
        checked(status, answer)

    # Answers out

    def download(self, uri: str, target: Path) -> None:
        """Copy an object of S3 into a file."""
        bucket, key = split_uri(uri)
        self.client("s3").download_file(bucket, key, str(target), Config=TRANSFER)


class _Counted:
    """Adds up the bytes that the threads of a transfer report."""

    def __init__(self, progress: Callable[[int], None]) -> None:
        self._progress = progress
        self._bytes = 0
        self._lock = threading.Lock()

    def __call__(self, more: int) -> None:
        with self._lock:
            self._bytes += more
            self._progress(self._bytes)


def upload_key(name: str) -> str:
    """The key for a file of this name that is sent now."""
    return object_key(datetime.now(UTC), secrets.token_hex(6), name)


def unknown(upload: str) -> str:
    return (
        f"there is no upload {upload}, or it was sent a moment ago; `protloc uploads` lists those there are"
    )


def split_uri(uri: str) -> tuple[str, str]:
    """Bucket and key of an `s3://bucket/key`."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    if not uri.startswith("s3://") or not bucket or not key:
        raise UsageProblem(f"expected s3://bucket/key, found {uri!r}")
    return bucket, key


def file_name(key: str) -> str:
    """The name of the file that a key was made from."""
    return key.rstrip("/").rsplit("/", 1)[-1] or "upload"


def connect(stack: str) -> Client:
    """The client of a stack in AWS, found by name with the credentials that boto3 finds."""
    of_aws = session()
    cloudformation = of_aws.client("cloudformation")
    description = cloudformation.describe_stacks(StackName=stack)["Stacks"][0]
    outputs = outputs_of(description)
    if not {"UploadsBucket", "ApiUrl"} <= outputs.keys():
        raise UsageProblem(f"the stack {stack} is not one of protloc: it has no output UploadsBucket")
    api_url = outputs["ApiUrl"]
    if is_embedded(cloudformation.meta.endpoint_url):
        stage = urlsplit(api_url).path.strip("/")
        api_url = f"{cloudformation.meta.endpoint_url}/_aws/execute-api/{outputs['ApiId']}/{stage}"
    return Client(outputs, api_url, of_aws, proxies=get_environ_proxies(api_url))
