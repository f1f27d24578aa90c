"""The cursors of the API's lists: where the next page begins, signed by the stack.

A cursor holds a key of a table, so it must come back unchanged: it carries an HMAC over its text and over the
list it leads through. One that was changed, or is of another list or another stack, is an InputError before
anything is read. A new key makes old cursors errors, and nothing else.
"""

import base64
import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Callable

from aws_lambda_powertools import Logger
from botocore.exceptions import ClientError

from functions.domain.errors import InputError
from functions.services.clients import client
from functions.services.dynamodb import Item

logger = Logger(child=True)

KEY_SECONDS = 300
"""The time for which a process keeps the key it read, and so the time that a rotation may go unnoticed."""

# ResourceNotFound: deleted; InvalidRequest: about to be deleted.
_NO_KEY = ("ResourceNotFoundException", "InvalidRequestException")


class Cursors:
    """Signs cursors and reads them back. `list_name` says which list, filters included."""

    def __init__(self, read_key: Callable[[], bytes]) -> None:
        self._read_key = read_key
        self._key, self._expires = b"", 0.0

    def sign(self, start: Item, list_name: str) -> str:
        """The cursor of a list that goes on at `start`."""
        text = base64.urlsafe_b64encode(json.dumps(start).encode()).decode("ascii").rstrip("=")
        return f"{text}.{self._seal(text, list_name)}"

    def read(self, cursor: str, list_name: str) -> Item:
        """Read where the list continues. Raises InputError for anything not signed for this very list."""
        text, _, seal = cursor.rpartition(".")
        if not cursor.isascii() or not hmac.compare_digest(seal, self._seal(text, list_name)):
            raise InputError("something else", expected="a cursor from a Link header", where="cursor")
        start: Item = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        return start

    def _seal(self, text: str, list_name: str) -> str:
        # As JSON, so that no other pair of text and list gives the same bytes.
        sealed = json.dumps([list_name, text]).encode()
        return hmac.new(self._current_key(), sealed, hashlib.sha256).hexdigest()

    def _current_key(self) -> bytes:
        if time.monotonic() >= self._expires:
            self._key, self._expires = self._read_key(), time.monotonic() + KEY_SECONDS
        return self._key


def stack_cursors(secret: str) -> Cursors:
    """Cursors signed with the stack's secret, which is read when the first one is needed.

    A secret that is gone leaves each process a key of its own: lists still begin, and go on as long as the
    same process answers.
    """
    own_key = secrets.token_bytes(32)

    def read_key() -> bytes:
        asked = client("secretsmanager")
        try:
            value: str = asked.get_secret_value(SecretId=secret)["SecretString"]
        except ClientError as error:
            if error.response["Error"]["Code"] not in _NO_KEY:
                raise
            logger.error("the secret that signs cursors is gone; docs/operations.md says what to do")
            return own_key
        return value.encode()

    return Cursors(read_key)
