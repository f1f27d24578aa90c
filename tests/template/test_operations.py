"""docs/operations.md and the alarms: each is explained, and each watches a metric that somebody emits."""

import re
from typing import Any

from tests.template.test_template import ROOT, resources

Template = dict[str, Any]

# AWS's own metrics that an alarm may watch: dimensions of each, and the page that documents them.
DOCUMENTED: dict[str, tuple[str, dict[str, set[str]]]] = {
    "AWS/SQS": (
        "https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-available-cloudwatch-metrics.html",
        {
            "ApproximateAgeOfOldestMessage": {"QueueName"},
            "ApproximateNumberOfMessagesVisible": {"QueueName"},
            "NumberOfMessagesReceived": {"QueueName"},
        },
    ),
    "AWS/Lambda": (
        "https://docs.aws.amazon.com/lambda/latest/dg/monitoring-metrics-types.html",
        {
            "Errors": {"FunctionName"},
            "Invocations": {"FunctionName"},
            "IteratorAge": {"FunctionName"},  # milliseconds, of functions that read a stream
            "RecursiveInvocationsDropped": {"FunctionName"},
            "Throttles": {"FunctionName"},
        },
    ),
    "AWS/ApiGateway": (
        "https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-metrics-and-dimensions.html",
        {"5XXError": {"ApiName", "Stage"}},
    ),
    "AWS/States": (
        "https://docs.aws.amazon.com/step-functions/latest/dg/procedure-cw-metrics.html",
        {
            name: {"StateMachineArn"}
            for name in ("ExecutionsFailed", "ExecutionsTimedOut", "ExecutionsAborted")
        },
    ),
}
OWN = "protloc"  # tests/end_to_end/test_access.py finds these among the metrics of the functions


def alarms(template: Template) -> dict[str, dict[str, Any]]:
    return dict(resources(template, "AWS::CloudWatch::Alarm"))


def watched(template: Template) -> list[tuple[str, dict[str, Any]]]:
    """(alarm, metric) of each metric that an alarm watches, alone or in a sum."""
    metrics = []
    for name, alarm in alarms(template).items():
        parts = [each["MetricStat"]["Metric"] for each in alarm.get("Metrics", ()) if "MetricStat" in each]
        metrics += [(name, metric) for metric in parts or [alarm]]
    return metrics


def explained() -> dict[str, tuple[str, str]]:
    """(meaning, remedy) of every alarm on the page."""
    text = (ROOT / "docs" / "operations.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| ([^|]*) \| ([^|]*) \|$", text, re.MULTILINE)
    assert len({name for name, _, _ in rows}) == len(rows)
    return {name: (meaning, action) for name, meaning, action in rows}


def test_every_alarm_says_what_it_means_and_what_to_do(rendered: Template) -> None:
    page = explained()
    assert set(page) == set(alarms(rendered))
    for name, (meaning, action) in page.items():
        assert len(meaning) > 20 and len(action) > 10, name


def test_every_alarm_watches_a_metric_that_is_emitted(rendered: Template) -> None:
    for name, metric in watched(rendered):
        dimensions = {dimension["Name"] for dimension in metric["Dimensions"]}
        if metric["Namespace"] == OWN:
            assert dimensions == {"service"}, name
            continue
        _, metrics = DOCUMENTED[metric["Namespace"]]
        assert metrics[metric["MetricName"]] == dimensions, name


def test_every_function_that_is_throttled_raises_an_alarm(rendered: Template) -> None:
    watching = {
        metric["Dimensions"][0]["Value"]["Ref"]
        for _, metric in watched(rendered)
        if metric["MetricName"] == "Throttles"
    }
    assert watching == {name for name, _ in resources(rendered, "AWS::Lambda::Function")}


def test_the_api_has_the_name_its_alarm_watches(rendered: Template) -> None:
    ((_, api),) = resources(rendered, "AWS::ApiGateway::RestApi")
    ((_, stage),) = resources(rendered, "AWS::ApiGateway::Stage")
    watched = {each["Name"]: each["Value"] for each in alarms(rendered)["ApiErrorsAlarm"]["Dimensions"]}
    assert watched == {"ApiName": api["Body"]["info"]["title"], "Stage": stage["StageName"]}


def test_own_metrics_are_emitted_under_the_stacks_name(rendered: Template) -> None:
    names = [
        {"Name": "service", "Value": function["Environment"]["Variables"]["POWERTOOLS_SERVICE_NAME"]}
        for _, function in resources(rendered, "AWS::Lambda::Function")
    ]
    for _, metric in watched(rendered):
        if metric["Namespace"] == OWN:
            assert all(metric["Dimensions"] == [name] for name in names)


def test_a_swept_queue_is_counted_by_what_sweep_takes(rendered: Template) -> None:
    """Messages that lie there for less than a minute may never be seen lying there."""
    metrics = {
        metric["Dimensions"][0]["Value"]["Fn::GetAtt"][0]: metric["MetricName"]
        for _, metric in watched(rendered)
        if metric["Dimensions"][0]["Name"] == "QueueName"
    }
    sweep = rendered["Resources"]["SweepFunction"]["Properties"]["Environment"]["Variables"]
    swept = {value["Ref"] for name, value in sweep.items() if name.endswith("DEAD_LETTERS")}
    assert {metrics[queue] for queue in swept} == {"NumberOfMessagesReceived"}
    assert metrics["UnheardDeadLetters"] == "ApproximateNumberOfMessagesVisible"


def test_every_way_in_which_a_retraining_does_not_succeed_is_an_alarm(rendered: Template) -> None:
    names = {metric["MetricName"] for _, metric in watched(rendered) if metric["Namespace"] == "AWS/States"}
    assert names == {"ExecutionsFailed", "ExecutionsTimedOut", "ExecutionsAborted"}


def test_the_bill_counts_every_alarm(rendered: Template) -> None:
    """The first ten of an account are free, the others $0.10 a month: https://aws.amazon.com/cloudwatch/pricing/."""
    text = (ROOT / "docs" / "platform-engineer.md").read_text()
    match = re.search(r"\| alarms of the stack \| (\d+), [^|]*\| ([\d.]+) \|", text)
    assert match
    alarms = sum(
        "Condition" not in rendered["Resources"][name]
        for name, _ in resources(rendered, "AWS::CloudWatch::Alarm")
    )
    assert (int(match[1]), float(match[2])) == (alarms, round(0.1 * (alarms - 10), 2))
