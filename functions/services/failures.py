"""Keeps the failure of one of many from stopping the others, without hiding it."""

from collections.abc import Iterator
from contextlib import contextmanager

from aws_lambda_powertools import Logger
from botocore.exceptions import BotoCoreError, ClientError

from functions.domain.errors import ProtlocError

logger = Logger()


class Failures:
    """Collects errors while a loop goes on, and fails with the first of them when it is over."""

    def __init__(self) -> None:
        self._first: Exception | None = None

    @contextmanager
    def kept(self, what: str) -> Iterator[None]:
        try:
            yield
        except (BotoCoreError, ClientError, ProtlocError) as error:
            logger.exception("not put right", extra={"what": what})
            self._first = self._first or error

    def raise_first(self) -> None:
        """Fail after all, so that the alarm sees it."""
        if self._first:
            raise self._first
