"""Repairs of the engine where it differs from AWS and the stack would notice, one function each.

Shares the engine's private names with `engine`; each is listed in `engine.TOUCHED`.
"""

from __future__ import annotations

import contextvars
import json
import os
import re
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from protloc.cloud.contracts import definitions, integrations
from protloc.cloud.contracts.demands import component_of, error_of
from protloc.cloud.contracts.permissions import needed
from protloc.cloud.contracts.shapes import from_template
from protloc.cloud.contracts.tasks import refused
from protloc.cloud.engine import ACCOUNT, REGION, module
from protloc.cloud.engine.access import AccessLog

_object_version: contextvars.ContextVar[str | None] = contextvars.ContextVar("object_version", default=None)
_asked_range: contextvars.ContextVar[dict[str, Any] | None] = contextvars.ContextVar(
    "asked_range", default=None
)
_execution: contextvars.ContextVar[dict[str, Any] | None] = contextvars.ContextVar("execution", default=None)
_task_ends: contextvars.ContextVar[float] = contextvars.ContextVar("task_ends", default=float("inf"))


def repair_all(
    changed: Callable[[], None], access: AccessLog, hosted: Callable[[str | None], Mapping[str, str]]
) -> None:
    """Put every repair in place, once per process. `changed` is told of every task of a state machine,
    `access` of what the task asked of IAM; `hosted` gives the endpoint of an inference component.
    """
    queue_batches_need_the_single_action()
    alarms_are_deleted_by_name()
    scaling_calls_name_their_service()
    object_events_name_the_version()
    versions_can_be_read_in_ranges()
    versions_live_on_disk()
    succeed_states_give_their_output()
    sdk_answers_keep_inner_capitals()
    definitions_may_be_yaml()
    mappings_take_numbers_from_parameters()
    schedules_say_when()
    bucket_policies_are_made_once()
    loopback_is_secure_transport()
    variables_are_assigned_together()
    executions_end_in_time(changed)
    state_machines_act_as_their_role(changed, access, hosted)
    tasks_are_throttled_where_asked()
    training_jobs_can_be_waited_for()
    notifications_keep_their_attributes()


def queue_batches_need_the_single_action() -> None:
    """IAM knows no `sqs:SendMessageBatch`: a batch needs the permission of its single call, as on AWS."""
    actions = module("ministack.core.iam_actions")
    extract = actions.extract_iam_action

    def single(*arguments: Any, **named: Any) -> str | None:
        action: str | None = extract(*arguments, **named)
        return action.removesuffix("Batch") if action and action.startswith("sqs:") else action

    actions.extract_iam_action = single


def alarms_are_deleted_by_name() -> None:
    """IAM is asked about the alarm that `cloudwatch:DeleteAlarms` names; of several, about the first."""
    actions = module("ministack.core.iam_actions")
    extract = actions.extract_resource_arn

    def named(
        service: str, method: str, path: str, headers: Any, body: bytes, *rest: Any, **more: Any
    ) -> str:
        found = str(extract(service, method, path, headers, body, *rest, **more))
        if service != "monitoring" or found != "*" or b"AlarmNames" not in body:
            return found
        try:
            return f"arn:aws:cloudwatch:{REGION}:{ACCOUNT}:alarm:{json.loads(body)['AlarmNames'][0]}"
        except (ValueError, KeyError, IndexError):
            return found

    actions.extract_resource_arn = named


def scaling_calls_name_their_service() -> None:
    """IAM is told the service whose resource a call to Application Auto Scaling is about."""
    actions = module("ministack.core.iam_actions")
    context = actions.request_tag_context

    def with_service(service: str, iam_action: str, body: bytes, query_params: Any) -> dict[str, Any]:
        found: dict[str, Any] = context(service, iam_action, body, query_params)
        if service != "application-autoscaling":
            return found
        try:
            named = json.loads(body)["ServiceNamespace"]
        except (ValueError, KeyError):
            return found
        return {**found, "application-autoscaling:service-namespace": named}

    actions.request_tag_context = with_service


def object_events_name_the_version() -> None:
    """EventBridge's "Object Created" carries `detail.object.version-id` for a versioned bucket."""
    storage, bus = module("ministack.services.s3"), module("ministack.services.eventbridge")
    fire, dispatch = storage._fire_s3_event, bus._dispatch_event

    def fire_with_version(*arguments: Any, version_id: str | None = None, **named: Any) -> None:
        token = _object_version.set(version_id)
        try:
            fire(*arguments, version_id=version_id, **named)
        finally:
            _object_version.reset(token)

    def dispatch_with_version(event: dict[str, Any], *arguments: Any, **named: Any) -> Any:
        version = _object_version.get()
        if version and version != "null" and event.get("Source") == "aws.s3":
            detail = json.loads(event["Detail"])
            detail["object"]["version-id"] = version
            event = {**event, "Detail": json.dumps(detail)}
        return dispatch(event, *arguments, **named)

    storage._fire_s3_event = fire_with_version
    bus._dispatch_event = dispatch_with_version


def schedules_say_when() -> None:
    """A schedule's input may name the time it was set for, as EventBridge Scheduler's own attribute."""
    bus = module("ministack.services.eventbridge")
    invoke = bus._invoke_target

    def invoke_at(target: dict[str, Any], event: dict[str, Any], *arguments: Any, **named: Any) -> Any:
        if event.get("Source") == "aws.scheduler" and "<aws.scheduler." in target.get("Input", ""):
            moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(event["Time"]))
            text = target["Input"].replace("<aws.scheduler.scheduled-time>", moment)
            target = {**target, "Input": text}
        return invoke(target, event, *arguments, **named)

    bus._invoke_target = invoke_at


def versions_can_be_read_in_ranges() -> None:
    """A ranged GET of a version answers with the range, read from disk alone, however large the object is."""
    storage = module("ministack.services.s3")
    get, whole = storage._get_object, storage._version_body

    def get_range(bucket: str, key: str, headers: dict[str, str], query_params: Any = None) -> Any:
        if not (headers.get("range") and query_params and query_params.get("versionId")):
            return get(bucket, key, headers, query_params)
        asked: dict[str, Any] = {"range": headers["range"]}
        token = _asked_range.set(asked)
        try:
            status, answer, body = get(bucket, key, headers, query_params)
        finally:
            _asked_range.reset(token)
        if status != 200 or "size" not in asked:
            return status, answer, body
        if asked["found"] is None:
            error = (
                f"<Error><Code>InvalidRange</Code><Message>The requested range is not satisfiable</Message>"
                f"<RangeRequested>{headers['range']}</RangeRequested></Error>"
            )
            content = {"Content-Type": "application/xml", "Content-Range": f"bytes */{asked['size']}"}
            return 416, content, error.encode()
        start, end = asked["found"]
        answer = {
            name: value for name, value in answer.items() if not name.lower().startswith("x-amz-checksum")
        }
        answer["Content-Length"] = str(len(body))
        answer["Content-Range"] = f"bytes {start}-{end}/{asked['size']}"
        return 206, answer, body

    def version_body(bucket: Any, bucket_name: str, key: str, version: dict[str, Any]) -> bytes | None:
        asked = _asked_range.get()
        if asked is None:
            body: bytes | None = whole(bucket, bucket_name, key, version)
            return body
        asked["size"], asked["found"] = version["size"], storage._parse_range(asked["range"], version["size"])
        if asked["found"] is None:
            return b""
        start, end = asked["found"]
        if version.get("data") is not None:
            return bytes(version["data"][start : end + 1])
        current = bucket["objects"].get(key) or {}
        if storage._version_file_exists(bucket_name, key, version["version_id"]):
            path = storage._version_disk_path(bucket_name, key, version["version_id"])
        elif (current.get("version_id") or "null") == version["version_id"]:
            path = storage._object_disk_path(bucket_name, key)
        else:
            return None
        with open(path, "rb") as file:
            file.seek(start)
            return file.read(end + 1 - start)

    storage._get_object = get_range
    storage._version_body = version_body


def versions_live_on_disk() -> None:
    """The bytes of an object's versions are dropped from memory once they are on disk."""
    storage = module("ministack.services.s3")
    persist = storage._persist_object

    def persist_and_forget(bucket: str, key: str, obj: Any) -> None:
        persist(bucket, key, obj)
        path = storage._object_disk_path(bucket, key)
        current = obj.get("version_id") if isinstance(obj, dict) else None
        for version in storage._object_versions.get((bucket, key)) or []:
            name = version["version_id"]
            if name == current:
                stored = os.path.isfile(path) and os.path.getsize(path) == version["size"]
            else:
                stored = storage._version_file_exists(bucket, key, name)
            if stored:
                version["data"] = None

    storage._persist_object = persist_and_forget


def succeed_states_give_their_output() -> None:
    """A JSONata Succeed state answers with its `Output`."""
    states = module("ministack.services.stepfunctions")
    plain = states._apply_input_path

    def with_output(state_def: dict[str, Any], data: Any, ctx: Any = None) -> Any:
        if state_def.get("Type") == "Succeed" and states._state_query_language(state_def, ctx) == "JSONata":
            return states._apply_jsonata_output(state_def, data, ctx, default=data)
        return plain(state_def, data, ctx)

    states._apply_input_path = with_output


def sdk_answers_keep_inner_capitals() -> None:
    """A member of an SDK task's answer is named as in the Java SDK: only leading capitals are changed.

    `DBClusterArn` is `DbClusterArn`, but `PolicyARN` stays `PolicyARN`.
    """
    states = module("ministack.services.stepfunctions")
    plain = states._api_name_to_sfn_key

    def key(name: str) -> str:
        leading = len(name) - len(name.lstrip("ABCDEFGHIJKLMNOPQRSTUVWXYZ"))
        return str(plain(name[: leading + 1])) + name[leading + 1 :] if name else name

    states._api_name_to_sfn_key = key


def definitions_may_be_yaml() -> None:
    """A state machine's definition may be written in YAML, which CloudFormation reads in its own way."""
    provisioners = module("ministack.services.cloudformation.provisioners")
    read = provisioners._sfn_definition

    def as_json(props: dict[str, Any]) -> str:
        text: str = read(props)
        return text if text.lstrip().startswith("{") else json.dumps(definitions.read(text))

    provisioners._sfn_definition = as_json


def mappings_take_numbers_from_parameters() -> None:
    """`MaximumConcurrency: !Ref Parameter` is text in the template and a number in the mapping."""
    kind = module("ministack.services.cloudformation.provisioners")._RESOURCE_HANDLERS[
        "AWS::Lambda::EventSourceMapping"
    ]
    create, update = kind["create"], kind["update"]

    def typed(properties: dict[str, Any]) -> dict[str, Any]:
        return from_template("lambda", "CreateEventSourceMapping", properties)

    def create_typed(logical_id: str, properties: dict[str, Any], stack: str) -> Any:
        return create(logical_id, typed(properties), stack)

    def update_typed(physical_id: str, old: dict[str, Any], new: dict[str, Any], *rest: Any) -> Any:
        return update(physical_id, typed(old), typed(new), *rest)

    kind["create"], kind["update"] = create_typed, update_typed


def bucket_policies_are_made_once() -> None:
    """A bucket that has a policy refuses to be given another by a stack; a policy is imported by its bucket.

    The refusal is CloudFormation's own (github.com/awslabs/cdk-serverless-clamscan/issues/1382).
    """
    storage = module("ministack.services.s3")
    handlers = module("ministack.services.cloudformation.provisioners")._RESOURCE_HANDLERS
    kind = handlers["AWS::S3::BucketPolicy"]
    create = kind["create"]

    def create_first(logical_id: str, properties: dict[str, Any], stack: str) -> Any:
        bucket = properties.get("Bucket", "")
        if storage._bucket_policies.get(bucket):
            raise ValueError(f"The bucket policy already exists on bucket {bucket}.")
        return create(logical_id, properties, stack)

    def take_over(identifier: dict[str, str]) -> tuple[str, dict[str, str]]:
        return f"{identifier['Bucket']}-policy", {}

    def problem(bucket: str) -> str | None:
        return None if storage._bucket_policies.get(bucket) else "The bucket policy does not exist"

    kind["create"], kind["import"] = create_first, take_over
    module("ministack.services.cloudformation.changesets")._IMPORT_LOOKUPS["AWS::S3::BucketPolicy"] = (
        ("Bucket",),
        problem,
    )


def loopback_is_secure_transport() -> None:
    """A policy that denies what does not come over TLS means the network; nothing here leaves the machine."""
    application = module("ministack.app")
    pin = application.pin_request_origin
    application.pin_request_origin = lambda source_ip, secure_transport: pin(source_ip, True)


def variables_are_assigned_together() -> None:
    """Every expression of an `Assign` sees the variables as they were before it."""
    states = module("ministack.services.stepfunctions")
    plain = states._apply_state_assign

    def together(state_def: dict[str, Any], raw_input: Any, ctx: Any, **results: Any) -> None:
        assign = state_def.get("Assign")
        if not ctx or not isinstance(assign, dict):
            return
        before = ctx.setdefault("variables", {})
        found: dict[str, Any] = {}
        for name, template in assign.items():
            alone = {**ctx, "variables": dict(before)}
            plain({**state_def, "Assign": {name: template}}, raw_input, alone, **results)
            found[name] = alone["variables"].get(name)
        before.update(found)

    states._apply_state_assign = together


def executions_end_in_time(changed: Callable[[], None]) -> None:
    """A state machine's `TimeoutSeconds` ends an execution as TIMED_OUT; what ended stays as it ended."""
    states = module("ministack.services.stepfunctions")
    run, fail = states._run_execution, states._fail_execution

    def expire(execution: dict[str, Any]) -> None:
        if execution["status"] != "RUNNING":
            return
        execution.update(status="TIMED_OUT", error="States.Timeout", stopDate=states.now_iso())
        details = {"executionTimedOutEventDetails": {"error": "States.Timeout"}}
        states._add_event(execution, "ExecutionTimedOut", details)
        states._emit_execution_status_event(execution)
        changed()

    def run_in_time(arn: str) -> None:
        execution = states._executions.get(arn) or {}
        machine = states._state_machines.get(execution.get("stateMachineArn", "")) or {}
        seconds = json.loads(machine.get("definition") or "{}").get("TimeoutSeconds")
        if seconds is None:
            run(arn)
            return
        timer = threading.Timer(seconds, contextvars.copy_context().run, (expire, execution))
        timer.daemon = True
        timer.start()
        run(arn)
        timer.cancel()

    def fail_what_runs(execution: dict[str, Any], error: str, cause: str) -> None:
        if execution["status"] == "RUNNING":
            fail(execution, error, cause)

    states._run_execution = run_in_time
    states._fail_execution = fail_what_runs


def _is_over() -> bool:
    """True if nobody waits any more for the task that runs in this context."""
    execution = _execution.get()
    return time.monotonic() > _task_ends.get() or (execution is not None and execution["status"] != "RUNNING")


def state_machines_act_as_their_role(
    changed: Callable[[], None], access: AccessLog, hosted: Callable[[str | None], Mapping[str, str]]
) -> None:
    """Every task asks IAM whether the machine's role may do it, and fails with AccessDenied where not; its
    arguments fail it where the service would refuse them.
    """
    states = module("ministack.services.stepfunctions")
    execute, invoke, call_back = states._execute_task, states._invoke_resource, states._invoke_with_callback
    invoke_in_time = states._invoke_resource_with_timeout

    def check(resource: str, arguments: Any) -> None:
        if _is_over():  # a retry, of an execution that was stopped meanwhile
            raise states._ExecutionError("States.Timeout", "the execution is over")
        execution = _execution.get() or {}
        role = (states._state_machines.get(execution.get("stateMachineArn", "")) or {}).get("roleArn")
        if role is None:
            return
        given = arguments if isinstance(arguments, dict) else {}
        permissions = needed(resource, given, REGION, ACCOUNT, hosted(component_of(given)))
        lacking = access.lacking(role, "states", permissions)
        if lacking is not None:
            error = error_of(permissions[0].action, lacking.permission)
            raise states._ExecutionError(f"{_error_prefix(states, resource)}.{error}", str(lacking))
        refusal = refused(resource, given, _error_prefix(states, resource))
        if refusal:
            raise states._ExecutionError(refusal.error, refusal.cause)

    def execute_as_role(state_def: Any, raw_input: Any, execution: Any, ctx: Any) -> Any:
        token = _execution.set(execution)
        try:
            return execute(state_def, raw_input, execution, ctx)
        finally:
            _execution.reset(token)
            changed()

    def invoke_checked(resource: str, input_data: Any) -> Any:
        check(resource, input_data)
        return invoke(resource, input_data)

    def invoke_known_end(resource: str, input_data: Any, timeout: float) -> Any:
        token = _task_ends.set(time.monotonic() + timeout)
        try:
            return invoke_in_time(resource, input_data, timeout)
        finally:
            _task_ends.reset(token)

    def call_back_checked(resource: str, input_data: Any, token: Any, state_def: Any) -> Any:
        check(resource, input_data)
        return call_back(resource, input_data, token, state_def)

    states._execute_task = execute_as_role
    states._invoke_resource = invoke_checked
    states._invoke_resource_with_timeout = invoke_known_end
    states._invoke_with_callback = call_back_checked


def _error_prefix(states: Any, resource: str) -> str:
    """The name Step Functions puts before an error: the optimised integrations have their own spelling."""
    if "aws-sdk:" in resource:
        service = resource.split("aws-sdk:")[1].split(":")[0]
        return str(states._AWS_SDK_ERROR_PREFIX.get(service, service.capitalize()))
    service = resource.split(":::")[1].split(":")[0] if ":::" in resource else "lambda"
    return {
        "dynamodb": "DynamoDB",
        "sagemaker": "SageMaker",
        "sqs": "SQS",
        "sns": "SNS",
        "states": "StepFunctions",
        "events": "EventBridge",
    }.get(service, service.capitalize())


def tasks_are_throttled_where_asked() -> None:
    """With PROTLOC_THROTTLE in the environment, every task of an execution is throttled once."""
    if not os.environ.get("PROTLOC_THROTTLE"):
        return
    states = module("ministack.services.stepfunctions")
    execute, invoke = states._execute_task, states._invoke_resource
    state: contextvars.ContextVar[tuple[str, str]] = contextvars.ContextVar("state")
    throttled: set[tuple[str, str]] = set()

    def execute_known(state_def: Any, raw_input: Any, execution: Any, ctx: Any) -> Any:
        token = state.set((execution["executionArn"], ctx["State"]["Name"]))
        try:
            return execute(state_def, raw_input, execution, ctx)
        finally:
            state.reset(token)

    def invoke_at_second(resource: str, input_data: Any) -> Any:
        if state.get() not in throttled:
            throttled.add(state.get())
            code = integrations.service(resource).throttling
            raise states._ExecutionError(integrations.error(resource, code), f"Rate exceeded ({code})")
        return invoke(resource, input_data)

    states._execute_task, states._invoke_resource = execute_known, invoke_at_second


def training_jobs_can_be_waited_for() -> None:
    """The optimised SageMaker integrations, with `.sync` for training jobs: one nobody waits for is ended."""
    states = module("ministack.services.stepfunctions")
    # Errors the SDK does not model have the service's base name.
    states._AWS_SDK_ERROR_CODE_OVERRIDES["sagemaker"] = {
        "ValidationException": "SageMakerException",
        "ResourceInUse": "ResourceInUseException",
        "ResourceNotFound": "ResourceNotFoundException",
        "ResourceLimitExceeded": "ResourceLimitExceededException",
    }
    info = states._AWS_SDK_SERVICE_MAP["sagemaker"]

    def call(action: str, arguments: dict[str, Any]) -> Any:
        try:
            return states._dispatch_aws_sdk_json(info, "sagemaker", action, arguments)
        except states._ExecutionError as problem:
            if problem.error == "SageMaker.SageMakerException":
                problem.error = "SageMaker.AmazonSageMakerException"
            raise

    def run(resource: str, arguments: dict[str, Any]) -> Any:
        action = resource.split("sagemaker:")[1].split(".")[0]
        answer = call(action, arguments)
        if action != "createTrainingJob" or not resource.endswith(".sync"):
            return answer
        while True:
            job = call("describeTrainingJob", {"TrainingJobName": arguments["TrainingJobName"]})
            if job["TrainingJobStatus"] == "Completed":
                return job
            if _is_over():
                call("stopTrainingJob", {"TrainingJobName": arguments["TrainingJobName"]})
                raise states._ExecutionError("States.Timeout", "the training job is stopped")
            if job["TrainingJobStatus"] in ("Failed", "Stopped"):
                raise states._ExecutionError("States.TaskFailed", json.dumps(job, default=str))
            time.sleep(0.2)

    for action in (
        "createTrainingJob",
        "createModel",
        "createEndpointConfig",
        "createEndpoint",
        "updateEndpoint",
    ):
        states._SERVICE_DISPATCH[f"arn:aws:states:::sagemaker:{action}"] = run


def notifications_keep_their_attributes() -> None:
    """`sns:publish` hands its MessageAttributes on, and fails with the name that SNS gives the error."""
    states = module("ministack.services.stepfunctions")
    publish = states._SERVICE_DISPATCH["arn:aws:states:::sns:publish"]

    def publish_all(resource: str, arguments: dict[str, Any]) -> Any:
        flat = dict(arguments)
        for number, (name, value) in enumerate(flat.pop("MessageAttributes", {}).items(), start=1):
            entry = f"MessageAttributes.entry.{number}"
            flat |= {f"{entry}.Name": name, **{f"{entry}.Value.{key}": value[key] for key in value}}
        try:
            return publish(resource, flat)
        except states._ExecutionError as problem:
            told = dict(re.findall(r"<(Code|Message)>([^<]*)<", problem.cause))
            if "Code" in told:
                problem.error = f"SNS.{told['Code'].removesuffix('Exception')}Exception"
                problem.cause = told.get("Message", "")
            raise

    states._SERVICE_DISPATCH["arn:aws:states:::sns:publish"] = publish_all
