"""The access key of a home's embedded cloud, in a file that its owner alone can read.

The file is one that AWS's tools take as AWS_SHARED_CREDENTIALS_FILE. It is made with the home and stays until
the home is erased; its holder is the account's root.
"""

from __future__ import annotations

import configparser
import os
import secrets
import string
from pathlib import Path
from typing import NamedTuple

from protloc.cloud import private

FILE = "credentials"
PROFILE = "default"
LETTERS = string.ascii_uppercase + "234567"


class Keys(NamedTuple):
    """An access key and its secret."""

    access_key: str
    secret_key: str


def made(home: Path) -> Keys:
    """The key of a home; it is made where there is none. Raises `private.NotPrivate`."""
    stored_keys = read(home)
    if stored_keys is not None:
        return stored_keys
    keys = Keys("AKIA" + "".join(secrets.choice(LETTERS) for _ in range(16)), secrets.token_urlsafe(30))
    text = f"[{PROFILE}]\naws_access_key_id = {keys.access_key}\naws_secret_access_key = {keys.secret_key}\n"
    private.write(home / FILE, text)
    return keys


def read(home: Path) -> Keys | None:
    """The key of a home, None where it has none. Raises `private.NotPrivate`."""
    try:
        with private.opened(home / FILE, os.O_RDONLY) as file:
            text = file.read()
    except FileNotFoundError:
        return None
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(text)
        section = parser[PROFILE]
        return Keys(section["aws_access_key_id"], section["aws_secret_access_key"])
    except (configparser.Error, KeyError):
        raise private.NotPrivate(
            f"expected an access key in {home / FILE}; delete the file, and `protloc up` makes another"
        ) from None


def variables(keys: Keys, endpoint_url: str, region: str) -> dict[str, str]:
    """The variables that AWS's tools read from the environment to work on a cloud."""
    return {
        "AWS_ACCESS_KEY_ID": keys.access_key,
        "AWS_SECRET_ACCESS_KEY": keys.secret_key,
        "AWS_ENDPOINT_URL": endpoint_url,
        "AWS_REGION": region,
        "AWS_DEFAULT_REGION": region,
    }
