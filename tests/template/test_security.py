"""The template's security: least privilege, encryption, and no failure without an alarm."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.template.test_operations import watched
from tests.template.test_template import MACHINE, as_list, resources, statements

Template = dict[str, Any]

# Exceptions to a rule, and their reasons. Each entry must be needed: see the last test.
WILDCARD_RESOURCES = {
    "Measure": "CloudWatch metrics are no resources; the namespace is a condition",
    "LogInToRegistry": "an authorization token is no resource",
    "FindStream": "a list of streams is no resource",
    "SeeTags": "tags are only read, and AWS's own policy for Step Functions names no resource",
    "LendAlarms": "Application Auto Scaling tries its caller's rights on alarms with names that it does not document",
    "Trace": "traces are no resources",
}
TRUSTED_WITHOUT_SOURCE = {
    (
        "lambda.amazonaws.com",
        "sts:AssumeRole",
    ): "Lambda names no source when it assumes a function's role; only who may pass it can use it",
    (
        "events.amazonaws.com",
        "sns:Publish",
    ): "EventBridge names no source to a topic: a condition would never be met",
}
TABLES_WITHOUT_RECOVERY = {
    "PredictionsTable": "an index over the result parts in S3",
    "AnswersTable": "a memory of the model's answers, which it gives again",
}
TOPICS_IN_PLAIN = {
    "NotificationsTopic": "alarms and rules cannot use the key AWS makes for SNS, and one of our own costs more than the "
    "stack at rest; SNS's disks are encrypted, and messages hold names and counts, no sequence",
}
BOUNDED_OTHERWISE = {
    "Query": "the API's throttle",
    "Explain": "the API's throttle",
    "Ask": "the API's throttle",
    "Retry": "the API's throttle",
    "Submit": "the API's throttle",
    "Withdraw": "the API's throttle",
    "Sweep": "its schedules, one call a minute",
    "Plan": "the state machine, one task at a time",
    "Judge": "the state machine, one task at a time",
    "Smoke": "the state machine, one task at a time",
    "Activate": "the API's throttle",
    "Retire": "its schedule, one call an hour",
    "Serve": "the API's throttle",
}
WITHOUT_TLS = {"Bool": {"aws:SecureTransport": "false"}}


def policy_statements(template: Template, kind: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Statements of resource policies of a kind, each with the resource's name in the template."""
    field = {
        "AWS::S3::BucketPolicy": "Bucket",
        "AWS::SQS::QueuePolicy": "Queues",
        "AWS::SNS::TopicPolicy": "Topics",
    }
    for _, policy in resources(template, kind):
        for resource in as_list(policy[field[kind]]):
            for statement in policy["PolicyDocument"]["Statement"]:
                yield resource["Ref"], statement


def services_let_in(template: Template) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(service, resource, statement) wherever a policy of a resource or a role lets a service in."""
    policies = [each for kind in TLS_ONLY for each in policy_statements(template, kind)]
    policies += [
        (name, statement)
        for name, role in resources(template, "AWS::IAM::Role")
        for statement in role["AssumeRolePolicyDocument"]["Statement"]
    ]
    for resource, statement in policies:
        if statement["Effect"] == "Allow":
            if resource == "TeamRole":  # for people, by the test of its own
                continue
            assert set(statement["Principal"]) == {"Service"}, (resource, statement)
            for service in as_list(statement["Principal"]["Service"]):
                yield service, resource, statement


# Roles


def test_a_role_allows_no_wildcard_action_and_few_wildcard_resources(rendered: Template) -> None:
    for role, statement in statements(rendered):
        assert (
            statement["Effect"] == "Allow" and "NotAction" not in statement and "NotResource" not in statement
        )
        assert not any("*" in action for action in as_list(statement["Action"])), role
        if "*" in as_list(statement["Resource"]):
            assert statement["Sid"] in WILDCARD_RESOURCES, (role, statement)


def test_a_role_is_written_out_here_and_says_what_each_statement_is_for(rendered: Template) -> None:
    for name, role in resources(rendered, "AWS::IAM::Role"):
        assert "ManagedPolicyArns" not in role, name
        assert all(statement.get("Sid") for _, statement in statements(rendered)), name
    # For people to attach; no role of the stack holds them.
    people = [name for name, _ in resources(rendered, "AWS::IAM::ManagedPolicy")]
    assert people == ["UploadersPolicy", "LabellersPolicy", "DeletersPolicy"]
    assert not list(resources(rendered, "AWS::IAM::Policy"))


def test_an_uploader_may_not_put_labels_whatever_other_policies_allow(rendered: Template) -> None:
    policies = dict(resources(rendered, "AWS::IAM::ManagedPolicy"))
    labels = {"Fn::Sub": "${UploadsBucket.Arn}/labels/*"}
    denied = [
        (name, statement["Action"])
        for name, policy in policies.items()
        for statement in policy["PolicyDocument"]["Statement"]
        if statement["Effect"] == "Deny" and statement["Resource"] == labels
    ]
    assert denied == [("UploadersPolicy", ["s3:PutObject", "s3:DeleteObject", "s3:DeleteObjectVersion"])]
    for name in policies:
        assert rendered["Outputs"][name]["Value"] == {"Ref": name}


def test_a_budget_is_documented_and_off_by_default(rendered: Template) -> None:
    (budget,) = [each for each in rendered["Resources"].values() if each["Type"] == "AWS::Budgets::Budget"]
    assert (
        budget["Condition"] == "HasBudget" and rendered["Parameters"]["MonthlyBudgetDollars"]["Default"] == 0
    )
    for notification in budget["Properties"]["NotificationsWithSubscribers"]:
        (subscriber,) = notification["Subscribers"]
        assert subscriber == {"SubscriptionType": "SNS", "Address": {"Ref": "NotificationsTopic"}}


def test_a_budget_is_made_once_its_topic_lets_it_in(rendered: Template) -> None:
    """AWS asks for the topic's policy before the budget:
    docs.aws.amazon.com/cost-management/latest/userguide/budgets-sns-policy.html.
    """
    assert "NotificationsTopicPolicy" in as_list(rendered["Resources"]["Budget"].get("DependsOn", []))


def test_a_function_may_trace_by_its_role_alone_whether_it_does_or_not(rendered: Template) -> None:
    """Lambda tries that before it makes or changes a function with tracing, by the permissions of the role at that time.

    A policy beside the role may come later, and one that comes with the change itself may not be known yet:
    "The provided execution role does not have permissions to call PutTraceSegments on XRAY"
    (github.com/aws/serverless-application-model/issues/225, github.com/serverless/serverless/issues/6931).
    """
    granted = {
        name
        for name, role in resources(rendered, "AWS::IAM::Role")
        for policy in role["Policies"]
        for statement in policy["PolicyDocument"]["Statement"]
        if "xray:PutTraceSegments" in statement.get("Action", ())
    }
    traced = {f["Role"]["Fn::GetAtt"][0] for _, f in resources(rendered, "AWS::Lambda::Function")}
    traced |= {
        m["RoleArn"]["Fn::GetAtt"][0] for _, m in resources(rendered, "AWS::StepFunctions::StateMachine")
    }
    assert traced - granted == set() and len(traced) == 19


def test_a_role_is_handed_on_to_sagemaker_alone(rendered: Template) -> None:
    handing = [s for _, s in statements(rendered) if "iam:PassRole" in as_list(s["Action"])]
    assert len(handing) == 1
    assert handing[0]["Resource"] == [{"Fn::GetAtt": [role, "Arn"]} for role in ("ModelRole", "TrainingRole")]
    assert handing[0]["Condition"] == {"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}}


def test_a_policy_that_lets_a_service_in_names_its_source(rendered: Template) -> None:
    let_in = list(services_let_in(rendered))
    assert {service for service, _, _ in let_in} == {
        f"{name}.amazonaws.com"
        for name in ("budgets", "cloudwatch", "events", "lambda", "sagemaker", "scheduler", "states")
    }
    for service, resource, statement in let_in:
        if (service, statement["Action"]) not in TRUSTED_WITHOUT_SOURCE:
            keys = {key for block in statement["Condition"].values() for key in block}
            assert keys & {"aws:SourceArn", "aws:SourceAccount"}, (service, resource)
    for name, permission in resources(rendered, "AWS::Lambda::Permission"):
        assert permission["SourceArn"], name


def test_only_query_may_read_the_secret_that_signs_cursors(rendered: Template) -> None:
    (secret, _), = resources(rendered, "AWS::SecretsManager::Secret")  # fmt: skip
    readers = {role for role, s in statements(rendered) if "secretsmanager:" in json.dumps(s["Action"])}
    assert readers == {"QueryRole"}
    value = rendered["Resources"][secret]["Properties"]
    assert value["GenerateSecretString"]["PasswordLength"] >= 43 and "SecretString" not in value  # 256 bits


# Nothing in the clear

TLS_ONLY = {
    "AWS::S3::BucketPolicy": ("AWS::S3::Bucket", "s3:*"),
    "AWS::SQS::QueuePolicy": ("AWS::SQS::Queue", "sqs:*"),
    "AWS::SNS::TopicPolicy": ("AWS::SNS::Topic", "sns:Publish"),
}


@pytest.mark.parametrize("kind", TLS_ONLY)
def test_nothing_is_reached_without_tls(rendered: Template, kind: str) -> None:
    guarded_kind, action = TLS_ONLY[kind]
    guarded = {
        resource
        for resource, statement in policy_statements(rendered, kind)
        if (statement["Effect"], statement["Principal"]) == ("Deny", "*")
        and statement["Condition"] == WITHOUT_TLS
        and statement["Action"] == action
    }
    assert guarded == {name for name, _ in resources(rendered, guarded_kind)}


def test_a_resource_has_one_policy_since_a_second_would_replace_it(rendered: Template) -> None:
    for kind in ("AWS::SQS::QueuePolicy", "AWS::SNS::TopicPolicy"):
        field = "Queues" if "SQS" in kind else "Topics"
        named = [each["Ref"] for _, policy in resources(rendered, kind) for each in policy[field]]
        assert len(named) == len(set(named))


def test_buckets_are_versioned_encrypted_and_private(rendered: Template) -> None:
    for _, bucket in resources(rendered, "AWS::S3::Bucket"):
        assert bucket["VersioningConfiguration"] == {"Status": "Enabled"}
        assert "ServerSideEncryptionByDefault" in str(bucket["BucketEncryption"])
        assert len(bucket["PublicAccessBlockConfiguration"]) == 4
        assert all(bucket["PublicAccessBlockConfiguration"].values())
        assert bucket["OwnershipControls"]["Rules"] == [{"ObjectOwnership": "BucketOwnerEnforced"}]


def test_queues_tables_and_topics_are_encrypted_at_rest(rendered: Template) -> None:
    for name, queue in resources(rendered, "AWS::SQS::Queue"):
        assert queue["SqsManagedSseEnabled"] is True, name
    for name, table in resources(rendered, "AWS::DynamoDB::Table"):
        assert table["SSESpecification"] == {"SSEEnabled": True}, name
    for name, topic in resources(rendered, "AWS::SNS::Topic"):
        assert "KmsMasterKeyId" in topic or name in TOPICS_IN_PLAIN


def test_tables_that_cannot_be_made_again_can_be_recovered(rendered: Template) -> None:
    for name, table in resources(rendered, "AWS::DynamoDB::Table"):
        recovered = table.get("PointInTimeRecoverySpecification") == {"PointInTimeRecoveryEnabled": True}
        assert recovered != (name in TABLES_WITHOUT_RECOVERY), name
        is_retained = rendered["Resources"][name].get("DeletionPolicy") == "RetainExceptOnCreate"
        assert is_retained == recovered, name


def test_what_outlives_the_stack_goes_with_a_first_deployment_that_fails(rendered: Template) -> None:
    """Plain `Retain` leaves it behind then too, and its name keeps the stack from being made again."""
    retained = {
        name: resource for name, resource in rendered["Resources"].items() if "DeletionPolicy" in resource
    }
    assert {name: resource["DeletionPolicy"] for name, resource in retained.items()} == dict.fromkeys(
        retained, "RetainExceptOnCreate"
    )
    assert all(resource["UpdateReplacePolicy"] == "Retain" for resource in retained.values())
    buckets = {name for name, _ in resources(rendered, "AWS::S3::Bucket")}
    guarded = {
        retained[name]["Properties"]["Bucket"]["Ref"]
        for name, _ in resources(rendered, "AWS::S3::BucketPolicy")
        if name in retained
    }
    assert buckets <= set(retained) and guarded == buckets
    for name, resource in retained.items():  # a fixed name is free again only with the resource
        for key, value in resource["Properties"].items():
            assert not key.endswith("Name") or "AWS::StackId" in json.dumps(value), (name, key)


def test_models_are_isolated_from_every_network(rendered: Template) -> None:
    (_, config), = resources(rendered, "AWS::SageMaker::EndpointConfig")  # fmt: skip
    assert config["EnableNetworkIsolation"] is True
    assert MACHINE["States"]["Host"]["Arguments"]["EnableNetworkIsolation"] is True


def test_every_log_is_kept_for_a_limited_time(rendered: Template) -> None:
    groups = dict(resources(rendered, "AWS::Logs::LogGroup"))
    assert all("RetentionInDays" in group for group in groups.values())
    for _, function in resources(rendered, "AWS::Lambda::Function"):
        assert function["LoggingConfig"]["LogGroup"]["Ref"] in groups


# Nothing lost unheard


def dead_letters(rendered: Template) -> dict[str, str]:
    """Every asynchronous path of the template, and the queue its failures end in."""
    by_source: dict[str, str] = {}

    def end(path: str, arn: dict[str, Any]) -> None:
        by_source[path] = arn["Fn::GetAtt"][0]

    for name, queue in resources(rendered, "AWS::SQS::Queue"):
        if not name.endswith("DeadLetters"):
            end(name, queue["RedrivePolicy"]["deadLetterTargetArn"])
    for name, mapping in resources(rendered, "AWS::Lambda::EventSourceMapping"):
        if rendered["Resources"][mapping["EventSourceArn"]["Fn::GetAtt"][0]]["Type"] != "AWS::SQS::Queue":
            end(name, mapping["DestinationConfig"]["OnFailure"]["Destination"])
    for name, rule in resources(rendered, "AWS::Events::Rule"):
        for target in rule["Targets"]:
            end(f"{name} {target['Id']}", target["DeadLetterConfig"]["Arn"])
    for name, schedule in resources(rendered, "AWS::Scheduler::Schedule"):
        end(name, schedule["Target"]["DeadLetterConfig"]["Arn"])
    for name, invoked in resources(rendered, "AWS::Lambda::EventInvokeConfig"):
        end(name, invoked["DestinationConfig"]["OnFailure"]["Destination"])
    return by_source


def test_every_asynchronous_path_ends_in_dead_letters_that_an_alarm_watches(rendered: Template) -> None:
    ends = dead_letters(rendered)
    assert (
        len(ends) == 13
    )  # three queues, two readers of a stream, two rules, four schedules, two functions they call
    allowed = {
        dimension["Value"]["Fn::GetAtt"][0]
        for _, metric in watched(rendered)
        for dimension in metric["Dimensions"]
        if dimension["Name"] == "QueueName"
    }
    letters = {name for name, _ in resources(rendered, "AWS::SQS::Queue") if name.endswith("DeadLetters")}
    assert set(ends.values()) == letters <= allowed
    scheduled = {
        target["Fn::GetAtt"][0]
        for _, schedule in resources(rendered, "AWS::Scheduler::Schedule")
        if "Fn::GetAtt" in (target := schedule["Target"]["Arn"])
    }
    called = {
        each["FunctionName"]["Ref"] for _, each in resources(rendered, "AWS::Lambda::EventInvokeConfig")
    }
    assert scheduled == called  # a schedule calls a function asynchronously


def test_each_function_and_schedule_may_send_to_its_dead_letters(rendered: Template) -> None:
    """SQS moves redriven messages by itself; everyone else needs to be let in."""
    senders = {
        role
        for role, statement in statements(rendered)
        if "sqs:SendMessage" in as_list(statement["Action"])
        and {"Fn::GetAtt": ["UnheardDeadLetters", "Arn"]} in as_list(statement["Resource"])
    }
    assert senders == {"CompleteRole", "EraseRole", "RetireRole", "SweepRole", "SchedulerRole"}
    for _, schedule in resources(rendered, "AWS::Scheduler::Schedule"):
        assert schedule["Target"]["RoleArn"] == {"Fn::GetAtt": ["SchedulerRole", "Arn"]}
    rules = {name for name, _ in resources(rendered, "AWS::Events::Rule")}
    let_in = [
        statement
        for service, resource, statement in services_let_in(rendered)
        if (service, resource) == ("events.amazonaws.com", "UnheardDeadLetters")
    ]
    (arns,) = (as_list(statement["Condition"]["ArnEquals"]["aws:SourceArn"]) for statement in let_in)
    assert {arn["Fn::GetAtt"][0] for arn in arns} == rules


def test_a_message_outlives_six_timeouts_of_its_function_and_then_is_a_dead_letter(
    rendered: Template,
) -> None:
    queues = dict(resources(rendered, "AWS::SQS::Queue"))
    functions = dict(resources(rendered, "AWS::Lambda::Function"))
    fed = 0
    for _, mapping in resources(rendered, "AWS::Lambda::EventSourceMapping"):
        queue = queues.get(mapping["EventSourceArn"]["Fn::GetAtt"][0])
        if queue is None:
            continue
        fed += 1
        timeout = functions[mapping["FunctionName"]["Ref"]]["Timeout"]
        assert queue["VisibilityTimeout"] >= 6 * timeout
        assert queue["RedrivePolicy"]["maxReceiveCount"] >= 5
        assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert fed == 3


def test_no_source_of_events_can_start_functions_without_bound(rendered: Template) -> None:
    """Reserved concurrency would do too, but an account of ten at once, as new ones are, has none to reserve."""
    bounded = set()
    for name, mapping in resources(rendered, "AWS::Lambda::EventSourceMapping"):
        function = mapping["FunctionName"]["Ref"]
        if "ScalingConfig" in mapping:
            assert mapping["ScalingConfig"]["MaximumConcurrency"], name
        else:
            assert mapping["ParallelizationFactor"] <= 10, name
        bounded.add(function.removesuffix("Function"))
    ((_, stage),) = resources(rendered, "AWS::ApiGateway::Stage")
    whole, *narrower = stage["MethodSettings"]
    assert (whole["ResourcePath"], whole["HttpMethod"]) == ("/*", "*")
    assert 0 < whole["ThrottlingRateLimit"] <= whole["ThrottlingBurstLimit"] <= 100
    for each in (setting.get("Fn::If", [None, setting])[1] for setting in narrower):
        assert 0 < each["ThrottlingRateLimit"] <= each["ThrottlingBurstLimit"] < whole["ThrottlingRateLimit"]
    called = {name.removesuffix("Function") for name, _ in resources(rendered, "AWS::Lambda::Function")}
    assert called - bounded == set(BOUNDED_OTHERWISE)


def test_every_alarm_tells_somebody(rendered: Template) -> None:
    for _, alarm in resources(rendered, "AWS::CloudWatch::Alarm"):
        assert alarm["AlarmActions"] == [{"Ref": "NotificationsTopic"}]
        assert alarm["AlarmDescription"] and alarm["TreatMissingData"] in ("breaching", "notBreaching")


def test_two_stacks_in_one_account_share_no_name(rendered: Template) -> None:
    """A fixed name lets a second stack fail, or watch the first one's metrics."""
    for name, resource in rendered["Resources"].items():
        for key, value in resource.get("Properties", {}).items():
            if key in (
                "Name",
                "BucketName",
                "FunctionName",
                "LogGroupName",
                "RoleName",
                "StateMachineName",
                "EndpointName",
            ):
                assert not isinstance(value, str), (name, key, value)
    for name, metric in watched(rendered):
        assert any(not isinstance(dimension["Value"], str) for dimension in metric["Dimensions"]), name


def test_a_rule_hears_of_this_stacks_bucket_alone(rendered: Template) -> None:
    """The default bus carries the events of every stack in the account: the files and ends of others' uploads."""
    rules = dict(resources(rendered, "AWS::Events::Rule"))
    buckets = {name: rule["EventPattern"]["detail"]["bucket"] for name, rule in rules.items()}
    own = {"Ref": "UploadsBucket"}
    assert buckets == {"UploadCreatedRule": {"name": [own]}, "UploadCompletedRule": [own]}


def test_no_exception_outlives_its_reason(rendered: Template) -> None:
    sids = {statement.get("Sid") for _, statement in statements(rendered) if statement["Resource"] == "*"}
    assert sids == set(WILDCARD_RESOURCES)
    assert set(TRUSTED_WITHOUT_SOURCE) <= {
        (service, s["Action"]) for service, _, s in services_let_in(rendered)
    }
    topics = {name for name, topic in resources(rendered, "AWS::SNS::Topic") if "KmsMasterKeyId" not in topic}
    assert topics == set(TOPICS_IN_PLAIN)
