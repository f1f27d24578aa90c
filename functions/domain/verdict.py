"""The verdict of `judge` as the beginning of a report that a job of the model's wrote."""

import html
import re
from collections.abc import Mapping
from typing import Any

PLACE = re.compile("<!-- verdict -->.*?<!-- /verdict -->", re.DOTALL)


def with_verdict(page: str, verdict: Mapping[str, Any]) -> str:
    """The page with the verdict and its checks where it has a place for them, instead of an earlier one.

    >>> page = "<h1>new</h1><!-- verdict --><!-- /verdict -->"
    >>> verdict = {"promote": False, "reason": "enough: 29", "checks": []}
    >>> with_verdict(page, verdict) == with_verdict(with_verdict(page, verdict), verdict)
    True
    """
    title = "Promoted" if verdict["promote"] else "Not promoted"
    rows = "\n".join(
        f"<tr><td>{'passed' if check['passed'] else '<strong>failed</strong>'}</td>"
        + "".join(f"<td>{html.escape(str(check[name]))}</td>" for name in ("check", "found", "expected"))
        + "</tr>"
        for check in sorted(verdict["checks"], key=lambda check: bool(check["passed"]))
    )
    passed = sum(bool(check["passed"]) for check in verdict["checks"])
    section = (
        f"<h2>{title}: {passed} of {len(verdict['checks'])} checks passed</h2>\n"
        f"<p>{html.escape(str(verdict['reason']))}</p>\n"
        '<table class="problems"><tr><th></th><th>check</th><th>found</th><th>expected</th></tr>\n'
        f"{rows}\n</table>"
    )
    return PLACE.sub(lambda _: f"<!-- verdict -->{section}<!-- /verdict -->", page, count=1)
