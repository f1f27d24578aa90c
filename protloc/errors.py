"""The errors a person sees: one line with the fault and its remedy, and an exit code.

Problem
├── UploadProblem      1  the upload failed, or did not end in time
├── UsageProblem       2  a command that cannot be carried out
└── Unreachable        3  no cloud answers, or it does not know us
    └── ModelAway         3  the cloud answers, but no model is there to ask yet
"""


class Problem(Exception):
    """An error that the command line reports in one line, ending with `exit_code`."""

    exit_code = 1


class UploadProblem(Problem):
    """The work was asked for, but did not come to a good end."""


class UsageProblem(Problem):
    """An argument names something that does not exist or cannot be."""

    exit_code = 2


class Unreachable(Problem):
    """The cloud cannot be reached, or does not let us in."""

    exit_code = 3


class ModelAway(Unreachable):
    """No model is there to ask: it starts, wakes up or is busy. The same may be asked again."""
