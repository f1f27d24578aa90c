"""The function `judge`: reads an evaluation from S3, and writes its verdict into the report."""

import json
from unittest.mock import Mock, patch

from aws_lambda_powertools.utilities.typing import LambdaContext

from functions.judge import handler
from tests.functions.evaluations import ASKED, MANIFEST, evaluation
from tests.functions.world import World

REPORT = b"<h1>new</h1>\n<!-- verdict --><!-- /verdict -->\n<h2>Figures</h2>"


def test_the_report_begins_with_the_verdict_however_often_it_was_judged(empty_world: World) -> None:
    world = empty_world
    places = {name: f"s3://models/evaluations/new/{name}" for name in ("evaluation.json", "report.html")}
    bodies = {"evaluation.json": json.dumps(evaluation(0.75, 0.70)).encode(), "report.html": REPORT}
    for name, body in bodies.items():
        world.s3.put_object(Bucket="models", Key=f"evaluations/new/{name}", Body=body)
    world.s3.put_object(
        Bucket="models", Key="snapshots/snap/manifest.json", Body=json.dumps(MANIFEST).encode()
    )
    event = ASKED | {"evaluation": places["evaluation.json"], "report": places["report.html"]}
    event["manifest"] = "s3://models/snapshots/snap/manifest.json"
    context = Mock(spec_set=LambdaContext, function_name="judge", memory_limit_in_mb=128, aws_request_id="1")
    context.invoked_function_arn = "arn:aws:lambda:eu-west-1:123456789012:function:judge"
    with patch("functions.judge.services", lambda: world.aws):
        refused = handler(event, context)
        handler(event, context)
    assert not refused["promote"]
    page = world.s3.get_object(Bucket="models", Key="evaluations/new/report.html")["Body"].read().decode()
    assert page.count("<h2>Not promoted") == 1 and page.index("Not promoted") < page.index("Figures")
    assert page.index("<strong>failed</strong>") < page.index("<td>passed</td>")
    assert "Q10 -5.0 points" in page
    with patch("functions.judge.services", lambda: world.aws):
        assert handler(event | {"report": "s3://models/evaluations/none/report.html"}, context) == refused
