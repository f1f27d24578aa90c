"""retire: takes down model versions that are not asked any more, and the remains of interrupted retrainings.

In: a schedule. A version is drained when it is neither the active one nor the one before (which stands by for
a rollback, and costs nothing while it does), no upload in work is pinned to it, and the last change of the
alias is an hour ago. A retraining that was stopped from outside leaves a version without an end, maybe
hosted, and the lock; one that failed may have failed to clean up as well: the remains of both are taken away.
A version stays `retiring` from run to run until its component is gone, and none stands in another's way.

In as well: `{"version", "package"}` from the state machine, whose execution could not put that version into
service. Its component and package are removed at once; ComponentStays asks for another call.
"""

from typing import Any

import boto3
from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.exceptions import ClientError

from functions.services import Services, services
from functions.services.dynamodb import Item, now_seconds
from functions.services.failures import Failures
from functions.services.hosting import ComponentStays, Hosting
from functions.services.models_table import UNFINISHED, Alias

logger = Logger()
metrics = Metrics()

SETTLE_SECONDS = 900
"""From the end of an execution on, so that its last requests have arrived."""

DRAINED = "nobody asks it any more"
STOPPED = "its retraining was stopped"


@logger.inject_lambda_context
@metrics.log_metrics
def handler(event: dict[str, Any], _context: LambdaContext) -> dict[str, int]:
    aws, hosting = services(), Hosting.connect()
    if "version" in event:
        remove(event["version"], event["package"], aws, hosting)
        return {"removed": 1}
    settle_seconds = event.get("settle_seconds", SETTLE_SECONDS)
    return {"retired": retire(aws, hosting, boto3.client("stepfunctions"), settle_seconds)}


def remove(version: str, package: str, aws: Services, hosting: Hosting) -> None:
    """Remove the component and package of an execution. Raises ComponentStays until the component is gone."""
    if package:
        hosting.remove_package(package)
    component = aws.settings.component(version)
    if not hosting.remove(component, promised=False):
        raise ComponentStays(f"{component} is being deleted")
    logger.info("removed what was made of a model version", extra={"version": version})


def retire(aws: Services, hosting: Hosting, machine: Any, settle_seconds: float = SETTLE_SECONDS) -> int:
    """Take down drained and abandoned versions, and free the lock of an ended execution; return how many.

    `machine` is boto3's client of Step Functions. The first error is raised after all else was done.
    """
    alias, retired, failures = aws.models.alias(), 0, Failures()
    for item in aws.models.all():
        with failures.kept(item["sk"]):
            retired += _take_down(item, alias, aws, hosting, machine, settle_seconds)
    with failures.kept("lock"):
        holder = aws.models.holder()
        if holder and _is_over(holder, machine, settle_seconds):
            aws.models.free_lock(holder)
    metrics.add_metric("ModelsRetired", MetricUnit.Count, retired)
    failures.raise_first()
    return retired


def _take_down(
    item: Item, alias: Alias, aws: Services, hosting: Hosting, machine: Any, settle_seconds: float
) -> bool:
    """Take a version down where that is due; say whether nothing is left of it since now."""
    version, state = item["sk"], item["state"]
    if _is_drained(item, alias, aws):
        is_retiring = aws.models.begin_retiring(version, alias, DRAINED)
    elif _is_left(item, machine, settle_seconds):
        reason = STOPPED if state in UNFINISHED else item["reason"]
        is_retiring = aws.models.begin_removing(version, state, reason)
    else:
        is_retiring = state == "retiring"  # by an earlier run
    if not is_retiring:
        return False
    if item.get("job"):
        hosting.stop_jobs(item["job"])
    if state == "failed" and item.get("package"):
        hosting.remove_package(item["package"])
    if not hosting.remove(aws.settings.component(version), promised="deletion" in item):
        aws.models.note_deletion(version)
        logger.info("component is being deleted", extra={"version": version})
        return False
    logger.info("model version taken down", extra={"version": version})
    return aws.models.end_retiring(version)


def _is_drained(item: Item, alias: Alias, aws: Services) -> bool:
    """True if no upload needs a version any more, nor is about to."""
    asked = item["state"] != "in_service" or item["sk"] in (alias.version, alias.previous)
    if asked or now_seconds() - alias.changed <= aws.settings.retire_seconds:
        return False
    return item["sk"] not in {upload.model_version for upload in aws.uploads.open_uploads()}


def _is_left(item: Item, machine: Any, settle_seconds: float) -> bool:
    """True if resources may be left of a version whose execution is over."""
    unclear = item["state"] in UNFINISHED or (item["state"] == "failed" and item.get("leftover", False))
    return unclear and _is_over(item.get("execution", ""), machine, settle_seconds)


def _is_over(execution: str, machine: Any, settle_seconds: float) -> bool:
    """True if an execution of the state machine ended that long ago, or is no longer on record."""
    if not execution:
        return True
    try:
        description = machine.describe_execution(executionArn=execution)
    except ClientError as error:
        if error.response["Error"]["Code"] != "ExecutionDoesNotExist":
            raise
        return True
    if description["status"] == "RUNNING":
        return False
    stopped = description.get("stopDate")
    return stopped is None or now_seconds() - stopped.timestamp() >= settle_seconds
