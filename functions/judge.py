"""judge: whether a challenger takes the champion's place. It fails closed: a challenger that is not shown to
be good enough changes nothing.

In: the state machine's `{"version", "champion", "snapshot", "evaluation", "manifest", "report"}`, the last
three addresses of files that the jobs wrote. Out: the verdict with a reason for people, every check with the
value found and the one expected, and the figures to be kept with the version: `figures` by themselves, and
`metrics` with their intervals and numbers of proteins; and `labels`, those of the challenger where they are
not DeepLoc's ten, as the models table keeps them. The report begins with the verdict afterwards.
"""

from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from functions.domain.judgement import Floors, judge
from functions.domain.verdict import with_verdict
from functions.services import Services, services
from functions.services.s3 import read_json

logger = Logger()


@logger.inject_lambda_context
def handler(event: dict[str, Any], _context: LambdaContext) -> dict[str, Any]:
    aws = services()
    evaluation, manifest = (_read(event[name], aws) for name in ("evaluation", "manifest"))
    floors = Floors(aws.settings.floor_q10, aws.settings.floor_macro_f1)
    verdict = judge(
        evaluation,
        manifest,
        floors,
        version=event["version"],
        champion=event["champion"],
        snapshot=event["snapshot"],
    )
    logger.info("judged", extra={key: verdict[key] for key in ("promote", "reason")})
    if event.get("report"):
        _write_into(event["report"], verdict, aws)
    return verdict


def _write_into(report: str, verdict: dict[str, Any], aws: Services) -> None:
    """Have the report that a job wrote begin with the verdict; as often as it is asked, it does so once."""
    bucket, _, key = report.removeprefix("s3://").partition("/")
    try:
        page = aws.s3.get_object(Bucket=bucket, Key=key)["Body"].read().decode()
    except aws.s3.exceptions.NoSuchKey:
        return  # the job wrote none, and the verdict stands with the version
    body = with_verdict(page, verdict).encode()
    aws.s3.put_object(Bucket=bucket, Key=key, Body=body, ContentType="text/html; charset=utf-8")


def _read(uri: str, aws: Services) -> Any:
    """The output of a job; empty where it wrote none, which then fails the gate."""
    try:
        return read_json(aws.s3, uri)
    except (aws.s3.exceptions.NoSuchKey, ValueError):
        return None
