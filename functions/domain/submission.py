"""Submissions: the keys of files that are sent, and the name by which such a file is found again.

A key is `2026-11-26/0123456789ab/proteome.fasta`: by date, unique, and with the file's name as it is. The
first two parts are the submission's name, `2026-11-26-0123456789ab`.
"""

import re
from datetime import datetime

from functions.domain.errors import InputError

MAX_NAME_BYTES = 900  # of the 1,024 that S3 allows a key

_SUBMISSION = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2})-([0-9a-f]{12})")


def object_key(moment: datetime, unique: str, name: str) -> str:
    """The key for a file of this name.

    Only characters that no key should hold are replaced: control characters, and slashes, which would make
    folders. A name that is too long keeps its end, which tells the kind of file.

    >>> object_key(datetime(2026, 11, 26), "0123456789ab", "my/proteins.fasta")
    '2026-11-26/0123456789ab/my_proteins.fasta'
    """
    name = "".join(c if c.isprintable() and c != "/" else "_" for c in name)
    while len(name.encode("utf-8", "replace")) > MAX_NAME_BYTES:
        name = name[1:]
    name = name.encode("utf-8", "replace").decode()
    return f"{moment:%Y-%m-%d}/{unique}/{name}"


def require_name(name: str) -> None:
    """Raise InputError where this cannot be a file's name."""
    if not name.strip() or len(name.encode("utf-8", "replace")) > MAX_NAME_BYTES:
        raise InputError(
            repr(name)[:60], expected=f"a file's name of at most {MAX_NAME_BYTES} bytes", where="name"
        )


def submission_of(key: str) -> str:
    """The submission that a key was made for.

    >>> submission_of("2026-11-26/0123456789ab/proteome.fasta")
    '2026-11-26-0123456789ab'
    """
    return "-".join(key.split("/")[:2])


def prefix_of(submission: str) -> str:
    """The prefix of a submission's keys. Raises InputError where this is the name of none."""
    match = _SUBMISSION.fullmatch(submission)
    if not match:
        raise InputError(repr(submission)[:60], expected="a submission's name", where="submission")
    return f"{match[1]}/{match[2]}/"
