"""Loops of functions: Lambda stops suspected ones, so a loop that is meant says so, and no other does.

https://docs.aws.amazon.com/lambda/latest/dg/invocation-recursion.html
"""

from collections.abc import Iterator
from typing import Any

from tests.template.test_template import as_list, resources, statements

Template = dict[str, Any]
Edges = dict[str, set[str]]


def names_in(value: Any) -> Iterator[str]:
    """The resources that a value of the template refers to."""
    if isinstance(value, dict):
        for kind, inner in value.items():
            if kind == "Ref":
                yield inner
            elif kind == "Fn::GetAtt":
                yield inner[0] if isinstance(inner, list) else inner.split(".")[0]
            elif kind == "Fn::Sub":
                text = inner[0] if isinstance(inner, list) else inner
                yield from (part.split("}")[0].split(".")[0] for part in text.split("${")[1:])
            else:
                yield from names_in(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from names_in(inner)


SENDING = {
    "sqs:SendMessage": "AWS::SQS::Queue",
    "sns:Publish": "AWS::SNS::Topic",
    "s3:PutObject": "AWS::S3::Bucket",
    "lambda:InvokeFunction": "AWS::Lambda::Function",
    "events:PutEvents": "AWS::Events::Rule",
}


def sent_to(template: Template) -> Edges:
    """The targets that each function's role lets it send to; a function that may write an event may set off any rule."""
    functions = dict(resources(template, "AWS::Lambda::Function"))
    by_role = {next(names_in(function["Role"])): name for name, function in functions.items()}
    edges: Edges = {name: set() for name in functions}
    for role, statement in statements(template):
        for action in as_list(statement["Action"]) if role in by_role else ():
            if action not in SENDING:
                continue
            named = set(names_in(statement["Resource"]))
            if action == "events:PutEvents":
                named = {name for name, _ in resources(template, "AWS::Events::Rule")}
            edges[by_role[role]] |= {
                name for name in named if template["Resources"].get(name, {}).get("Type") == SENDING[action]
            }
    return edges


def fed_from(template: Template) -> Edges:
    """The functions fed from a queue, topic, bucket or rule."""
    edges: Edges = {}
    for _, mapping in resources(template, "AWS::Lambda::EventSourceMapping"):
        for source in names_in(mapping["EventSourceArn"]):
            edges.setdefault(source, set()).update(names_in(mapping["FunctionName"]))
    for _, subscription in resources(template, "AWS::SNS::Subscription"):
        for topic in names_in(subscription["TopicArn"]):
            edges.setdefault(topic, set()).update(names_in(subscription["Endpoint"]))
    for name, bucket in resources(template, "AWS::S3::Bucket"):
        notified = bucket.get("NotificationConfiguration", {})
        edges.setdefault(name, set()).update(names_in(notified))
        if "EventBridgeConfiguration" in notified:
            rules = resources(template, "AWS::Events::Rule")
            edges[name] |= {rule for rule, made in rules if name in names_in(made["EventPattern"])}
    for name, rule in resources(template, "AWS::Events::Rule"):
        for target in rule["Targets"]:
            edges.setdefault(name, set()).update(names_in(target["Arn"]))
    return edges


def in_loops(template: Template) -> set[str]:
    """The functions that an event may come back to, however many others lie on its way."""
    edges = {**fed_from(template), **sent_to(template)}
    looping = set()
    for function, _ in resources(template, "AWS::Lambda::Function"):
        reached: set[str] = set()
        ahead = list(edges.get(function, ()))
        while ahead:
            place = ahead.pop()
            if place not in reached:
                reached.add(place)
                ahead += edges.get(place, ())
        if function in reached:
            looping.add(function)
    return looping


def test_just_the_functions_that_an_event_may_come_back_to_are_allowed_to_loop(rendered: Template) -> None:
    allowed = {
        name
        for name, function in resources(rendered, "AWS::Lambda::Function")
        if function.get("RecursiveLoop", "Terminate") == "Allow"
    }
    assert allowed == in_loops(rendered)
    assert "PredictFunction" in allowed, "a batch that waits is sent to predict's own queue"


def test_a_loop_through_several_functions_is_seen() -> None:
    """The derivation itself, on a template with a loop."""

    def function(name: str, role: str) -> Template:
        return {
            name: {"Type": "AWS::Lambda::Function", "Properties": {"Role": {"Fn::GetAtt": [role, "Arn"]}}}
        }

    def role(name: str, action: str, resource: Any) -> Template:
        statement = {"Effect": "Allow", "Action": action, "Resource": resource}
        policies = [{"PolicyName": "all", "PolicyDocument": {"Statement": [statement]}}]
        return {name: {"Type": "AWS::IAM::Role", "Properties": {"Policies": policies}}}

    made = (
        function("First", "FirstRole")
        | function("Second", "SecondRole")
        | function("Third", "ThirdRole")
        | role("FirstRole", "sqs:SendMessage", {"Fn::GetAtt": ["Queue", "Arn"]})
        | role("SecondRole", "s3:PutObject", {"Fn::Sub": "${Bucket.Arn}/results/*"})
        | role("ThirdRole", "s3:GetObject", {"Fn::Sub": "${Bucket.Arn}/*"})
        | {
            "Queue": {"Type": "AWS::SQS::Queue"},
            "Bucket": {
                "Type": "AWS::S3::Bucket",
                "Properties": {"NotificationConfiguration": {"EventBridgeConfiguration": {}}},
            },
            "Rule": {
                "Type": "AWS::Events::Rule",
                "Properties": {
                    "EventPattern": {"detail": {"bucket": {"name": [{"Ref": "Bucket"}]}}},
                    "Targets": [
                        {"Arn": {"Fn::GetAtt": ["First", "Arn"]}},
                        {"Arn": {"Fn::GetAtt": "Third.Arn"}},
                    ],
                },
            },
            "Mapping": {
                "Type": "AWS::Lambda::EventSourceMapping",
                "Properties": {
                    "EventSourceArn": {"Fn::GetAtt": ["Queue", "Arn"]},
                    "FunctionName": {"Ref": "Second"},
                },
            },
        }
    )
    assert in_loops({"Resources": made}) == {"First", "Second"}


def test_a_loop_that_lambda_stops_is_heard_of(rendered: Template) -> None:
    """Every function that takes messages of a queue has an alarm, also those that are allowed to loop today."""
    watched = {
        dimension["Value"]["Ref"]
        for _, alarm in resources(rendered, "AWS::CloudWatch::Alarm")
        if alarm["MetricName"] == "RecursiveInvocationsDropped"
        for dimension in alarm["Dimensions"]
    }
    fed = fed_from(rendered)
    queues = {name for name, _ in resources(rendered, "AWS::SQS::Queue")}
    assert watched == {function for queue in queues for function in fed.get(queue, ())}
