"""The HTTP API of a deployed stack: signed requests, repeated where it is busy, and answers as JSON."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode, urlsplit

import boto3
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.exceptions import HTTPClientError
from botocore.httpsession import URLLib3Session

from protloc.errors import Unreachable, UsageProblem

View = dict[str, Any]

RETRIES = 5
RETRIED_STATUSES = {429, 500, 502, 503, 504}
ANSWERED_LATER = {502, 503, 504}  # the answers of `explain`, or of API Gateway for it
_NEXT_LINK = re.compile(r'<([^>]*)>\s*;\s*rel="next"')


class Api:
    """The API at a URL, asked with the credentials of a session."""

    def __init__(
        self,
        url: str,
        session: boto3.Session,
        region: str,
        proxies: Mapping[str, str] | None,
        answer_seconds: int,
    ) -> None:
        self.url = url.rstrip("/")
        self.region = region
        self._session = session
        self._http = URLLib3Session(proxies=dict(proxies) if proxies else None, timeout=answer_seconds)

    def pages(self, path: str, name: str, **parameters: str) -> Iterator[View]:
        """The entries of a list, read page by page as they are asked for."""
        following: str | None = f"{path}?{urlencode({'size': '200', **parameters})}"
        while following:
            status, answer, following = self.get(following)
            yield from checked(status, answer)[name]

    def get(self, path: str) -> tuple[int, View, str | None]:
        """As `ask`."""
        return self.ask("GET", path)

    def ask(
        self, method: str, path: str, body: View | None = None, retried: set[int] = RETRIED_STATUSES
    ) -> tuple[int, View, str | None]:
        """Ask the API, signed; return status, JSON answer and the path of the next page.

        A request may be repeated: a second time, it either changes nothing or is a conflict.
        """
        for attempt in range(RETRIES):
            if attempt:
                time.sleep(0.2 * 2**attempt)
            headers = {"Accept": "application/json"}
            if body is not None:
                headers["Content-Type"] = "application/json"
            data = None if body is None else json.dumps(body)
            request = AWSRequest(method, self.url + path, headers=headers, data=data)
            credentials = self._session.get_credentials()
            if credentials is None:
                raise Unreachable("no AWS credentials found; set up a profile or AWS_ACCESS_KEY_ID")
            SigV4Auth(credentials, "execute-api", self.region).add_auth(request)
            try:
                answer = self._http.send(request.prepare())
            except HTTPClientError as error:
                if attempt == RETRIES - 1:
                    raise Unreachable(f"the API at {self.url} does not answer: {error}") from None
                continue
            if answer.status_code not in retried:
                break
        try:
            value = json.loads(answer.content)
        except ValueError:
            value = None
        if not isinstance(value, dict):
            value = {}
            if answer.status_code == HTTPStatus.OK:
                raise Unreachable(f"what answers at {self.url} is not the API of protloc")
        link = _NEXT_LINK.search(answer.headers.get("Link", ""))
        return answer.status_code, value, self._below(path, link[1]) if link else None

    def _below(self, path: str, link: str) -> str:
        """A link in the answer to `path` as a path below the API's URL, without the link's own stage."""
        parts = urlsplit(link)
        if not parts.path:  # relative to the request
            return f"{path.partition('?')[0]}?{parts.query}"
        stage = urlsplit(self.url).path
        path = parts.path.removeprefix(stage)
        if (
            path == parts.path
        ):  # of an older release, behind a custom domain or a prefix: it names the stage alone
            path = parts.path.removeprefix("/" + stage.rsplit("/", 1)[-1])
        return f"{path}?{parts.query}"


def checked(status: int, answer: View) -> View:
    """The answer; raises UsageProblem or Unreachable where its status says that it is none."""
    if status in (HTTPStatus.OK, HTTPStatus.ACCEPTED):
        return answer
    detail = str(answer.get("detail") or answer.get("message") or answer.get("Message") or "no detail")
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        raise Unreachable(f"the API refused us ({detail}); these credentials need execute-api:Invoke on it")
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        raise Unreachable(f"the API failed with status {status}; try again, or see the query function's log")
    if status in (HTTPStatus.CONFLICT, HTTPStatus.GONE):
        raise UsageProblem(detail)
    raise UsageProblem(f"the API answered {status}: {detail}")
