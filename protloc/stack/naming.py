"""The names a stack may have: those of which every name made from them fits.

CloudFormation takes up to 128 letters of either case. But a model version's inference component is named
`STACK-VERSION`, which SageMaker limits to 63 characters, and a version may have 40 of them; and SageMaker
writes the names in its ARNs in lower case (github.com/prometheus-community/yet-another-cloudwatch-exporter,
pull request 1178), so that a role's `component/STACK-*` would not match a name with capitals. A template's
`Rules` compare parameters, but neither measure nor match a text
(docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/intrinsic-function-reference-rules.html), so
this is said before anything is made.
"""

from __future__ import annotations

import re

from protloc.errors import UsageProblem

MAX_STACK_NAME_LENGTH = 63 - len("-") - 40
STACK_NAME = re.compile(rf"(?=.{{1,{MAX_STACK_NAME_LENGTH}}}\Z)[a-z](-?[a-z0-9])*\Z")


class BadStackName(UsageProblem):
    """The name of a stack that would make names that AWS refuses."""


def check_stack_name(name: str) -> None:
    """Raise BadStackName unless a stack may be made under this name.

    >>> check_stack_name("Proteome")
    Traceback (most recent call last):
    protloc.stack.naming.BadStackName: expected a stack's name of at most 22 lower-case letters, digits and \
single hyphens, beginning with a letter, found 'Proteome'
    """
    if not STACK_NAME.match(name):
        raise BadStackName(
            f"expected a stack's name of at most {MAX_STACK_NAME_LENGTH} lower-case letters, digits and "
            f"single hyphens, beginning with a letter, found {name!r}"
        )
