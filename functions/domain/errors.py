"""The errors of the functions, by who recovers and how.

ProtlocError
├── InputError            the user's file or request: recorded with its reason, never retried
│   └── FileGone              the file; a young one may only not be readable yet
├── Missing               a request about an upload, a record or a model version that is not there
├── UploadDeleted         a request about an upload that was deleted
├── Conflict              a request that cannot be fulfilled as things are
├── EndpointError
│   ├── EndpointUnavailable   no model answers yet: the batch waits, nothing is wrong with it
│   │   ├── EndpointTimedOut      the model took too long: it is asked for less at a time, or waited for
│   │   └── OutOfTime             the function has no time for another call: the next delivery goes on
│   └── EndpointRefused       the model failed on this very request: bisected down to the protein
└── BrokenContract        two of our own parts disagree: loud, retried by the queue, then a dead letter
"""


class ProtlocError(Exception):
    """Anything protloc itself has to say about a failure."""


class InputError(ProtlocError):
    """The user's input cannot be used; the message has the value expected, the one found, and the place."""

    def __init__(self, found: str, *, expected: str = "", where: str = "") -> None:
        self.found, self.expected, self.where = found, expected, where
        message = f"expected {expected}, found {found}" if expected else found
        super().__init__(f"{where}: {message}" if where else message)


class FileGone(InputError):
    """The version of a file that was sent is not there."""


class Missing(ProtlocError):
    """The requested resource does not exist."""


class Conflict(ProtlocError):
    """The request is in order, and cannot be fulfilled as things are."""


class UploadDeleted(ProtlocError):
    """The upload was deleted; nothing of it is shown or done any more."""

    def __init__(self) -> None:
        super().__init__("This upload was deleted.")


class EndpointError(ProtlocError):
    """A call to the model gave no answer."""


class EndpointUnavailable(EndpointError):
    """No model is there to answer yet, or too many are asking; the same call may succeed later."""


class EndpointTimedOut(EndpointUnavailable):
    """The model did not answer within the time it has: too much was asked at once, or by too many."""


class OutOfTime(EndpointUnavailable):
    """The function would be ended before another call of the model could be."""


class EndpointRefused(EndpointError):
    """The model received the request and failed on it."""


class BrokenContract(ProtlocError):
    """A part of the system broke the contract of `events/`."""
