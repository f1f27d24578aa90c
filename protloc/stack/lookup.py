"""Finds an upload by its id, the beginning of that, `latest`, or the name of its file."""

from __future__ import annotations

import re
from itertools import islice

from protloc.errors import UsageProblem
from protloc.safe import safe
from protloc.stack.client import UPLOAD_ID, Client, file_name

LATEST = "latest"
MAX_UPLOADS_SEARCHED = 10_000  # uploads that are looked through, newest first
_BEGINNING = re.compile(r"[a-z2-7]{4,25}")


def find(client: Client, name: str) -> str:
    """The id of an upload. Raises UsageProblem where none, or more than one, is called so.

    A file's name stands for the newest upload of a file of that name.
    """
    if UPLOAD_ID.fullmatch(name):
        return name
    beginning = _BEGINNING.fullmatch(name) is not None
    matching = list[str]()
    for view in islice(client.uploads(), MAX_UPLOADS_SEARCHED):
        if name == LATEST or file_name(view["key"]) == name:
            return str(view["upload"])
        if beginning and view["upload"].startswith(name):
            matching.append(view["upload"])
    if len(matching) == 1:
        return matching[0]
    if matching:
        raise UsageProblem(
            f"{len(matching)} uploads begin with {name}; give more letters: {', '.join(matching[:3])}"
        )
    if name == LATEST:
        raise UsageProblem("there is no upload yet; `protloc predict FILE` makes one")
    raise UsageProblem(
        f"there is no upload {safe(name, 60)}; `protloc uploads` lists them. Name one by its id, four "
        f"letters or more that it begins with, its file's name, or {LATEST}"
    )
