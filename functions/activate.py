"""activate: another model version that is in service becomes the active one. A rollback is this, too.

In: `PUT /models/active` of the API, `{"version", "revision"}`; with a revision, only if the alias still has
it. Out: the alias as it is then. One conditional write: uploads in work stay with the version they began
with.
"""

from http import HTTPStatus
from typing import Any

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.typing import LambdaContext

from functions.domain.errors import Conflict, InputError, Missing
from functions.http import REFUSED, answer, read_object, refusal, shown
from functions.parameters import MAX_NAME_CHARACTERS
from functions.services import Services, services
from functions.services.models_table import Alias

logger = Logger()
metrics = Metrics()


class NotNow(Conflict):
    """The version cannot become the active one as things are."""


@logger.inject_lambda_context
@metrics.log_metrics
def handler(event: dict[str, Any], _context: LambdaContext) -> dict[str, Any]:
    try:
        version, revision = _asked(event.get("body"))
        alias = activate(version, revision, services())
    except REFUSED as error:
        return refusal(error)
    view = {"active": alias.version, "previous": alias.previous or None, "revision": alias.revision}
    return answer(HTTPStatus.OK, view)


def activate(version: str, revision: int | None, aws: Services) -> Alias:
    """The alias afterwards. Raises Missing where there is no such version, NotNow where it is not in service
    or the alias is another than was thought.
    """
    item = aws.models.get(version)
    if item is None:
        raise Missing("There is no such model version.")
    alias = aws.models.alias()
    if revision is not None and revision != alias.revision:
        raise NotNow(f"expected revision {revision}, found {alias.revision} with {alias.version}")
    if alias.version == version:
        return alias
    if item["state"] != "in_service" or not aws.models.activate(version, alias):
        state = (aws.models.get(version) or item)["state"]
        if state == "in_service":
            raise NotNow("the active version was changed just now; look, and ask again")
        raise NotNow(f"expected a version in service, found {version} {state}")
    logger.info("model version activated", extra={"version": version, "before": alias.version})
    metrics.add_metric("ModelActivations", MetricUnit.Count, 1)
    return aws.models.alias()


def _asked(body: str | None) -> tuple[str, int | None]:
    request = read_object(body)
    if request is None or not set(request) <= {"version", "revision"}:
        raise InputError("another body", expected='a JSON object {"version": …, "revision": …}')
    version, revision = request.get("version"), request.get("revision")
    if not isinstance(version, str) or not 0 < len(version) <= MAX_NAME_CHARACTERS:
        raise InputError(shown(version), expected="the name of a model version", where="version")
    if isinstance(revision, float) and revision.is_integer():
        revision = int(revision)  # to JSON, 3.0 is 3
    if "revision" in request and (type(revision) is not int or revision < 0):
        raise InputError(shown(revision), expected="a whole number", where="revision")
    return version, revision
