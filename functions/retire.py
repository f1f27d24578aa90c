"""retire: takes down model versions that nobody will ask again, and what an interrupted retraining left.

In: a schedule. A version is drained when it is neither the active one nor the one before (which stands by
for a rollback, and costs nothing while it does), no upload in work is pinned to it, and the last change of
the alias is an hour ago. A retraining that was stopped from outside leaves a version without an end, maybe
hosted, and the lock: all of that is ended here.
"""

from typing import Any

import boto3
from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.exceptions import ClientError

from functions.hosting import Hosting
from functions.models import UNFINISHED
from functions.services import Services, services
from functions.tables import now_seconds

logger = Logger()
metrics = Metrics()

DRAINED = "nobody asks it any more"
STOPPED = "its retraining was stopped"


@logger.inject_lambda_context
@metrics.log_metrics
def handler(_event: dict[str, Any], _context: LambdaContext) -> dict[str, int]:
    aws, hosting = services(), Hosting.connect()
    ended = end_stopped(aws, hosting, boto3.client("stepfunctions"))
    retired = retire_drained(aws, hosting)
    metrics.add_metric("ModelsRetired", MetricUnit.Count, retired)
    return {"ended": ended, "retired": retired}


def retire_drained(aws: Services, hosting: Hosting) -> int:
    """Take down every drained version; return how many."""
    alias = aws.models.alias()
    kept = {alias.version, alias.previous}
    settled = now_seconds() - alias.changed > aws.settings.retire_seconds
    retired = 0
    for item in aws.models.all():
        version, state = item["sk"], item["state"]
        drained = state == "in_service" and version not in kept and settled
        if drained and version not in _pinned(aws) and aws.models.begin_retiring(version, alias):
            state = "retiring"
        if state == "retiring":
            hosting.remove(aws.settings.component(version))
            retired += aws.models.end(version, "retiring", "retired", DRAINED)
            logger.info("model version retired", extra={"version": version})
    return retired


def end_stopped(aws: Services, hosting: Hosting, machine: Any) -> int:
    """End what stopped retrainings left unfinished, and free the lock of one; return how many there were."""
    ended = 0
    for item in aws.models.all():
        if item["state"] in UNFINISHED and _is_over(item.get("execution", ""), machine):
            hosting.remove(aws.settings.component(item["sk"]))
            ended += aws.models.end(item["sk"], item["state"], "failed", STOPPED)
            logger.warning("ended what a stopped retraining left", extra={"version": item["sk"]})
    holder = aws.models.holder()
    if holder and _is_over(holder, machine):
        aws.models.free_lock(holder)
    return ended


def _pinned(aws: Services) -> set[str]:
    return {str(item["model_version"]) for item in aws.uploads.open_uploads()}


def _is_over(execution: str, machine: Any) -> bool:
    """Whether an execution of the state machine has ended; one that is forgotten has."""
    if not execution:
        return True
    try:
        status = machine.describe_execution(executionArn=execution)["status"]
    except ClientError as error:
        if error.response["Error"]["Code"] != "ExecutionDoesNotExist":
            raise
        return True
    return bool(status != "RUNNING")
