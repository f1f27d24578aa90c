"""Repairs of the engine's Step Functions where it differs from AWS, one function each.

Shares the engine's private names with `engine`; each is listed in `names.TOUCHED`.
"""

from __future__ import annotations

import contextvars
import json
import os
import re
import threading
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from protloc.cloud.contracts import integrations
from protloc.cloud.contracts.demands import component_of, error_of
from protloc.cloud.contracts.permissions import needed
from protloc.cloud.contracts.tasks import refused
from protloc.cloud.engine.access import AccessLog
from protloc.cloud.engine.names import ACCOUNT, REGION, module

_execution: contextvars.ContextVar[dict[str, Any] | None] = contextvars.ContextVar("execution", default=None)
_task_ends: contextvars.ContextVar[float] = contextvars.ContextVar("task_ends", default=float("inf"))


def repair_all(
    changed: Callable[[], None], access: AccessLog, hosted: Callable[[str | None], Mapping[str, str]]
) -> None:
    """Put these repairs in place, once per process; the arguments are those of `repairs.repair_all`."""
    succeed_states_give_their_output()
    sdk_answers_keep_inner_capitals()
    variables_are_assigned_together()
    executions_end_in_time(changed)
    state_machines_act_as_their_role(changed, access, hosted)
    tasks_are_throttled_where_asked()
    training_jobs_can_be_waited_for()
    notifications_keep_their_attributes()


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


def variables_are_assigned_together() -> None:
    """Every expression of an `Assign` sees the variables as they were before it."""
    states = module("ministack.services.stepfunctions")
    plain = states._apply_state_assign

    def together(state_def: dict[str, Any], raw_input: Any, ctx: Any, **results: Any) -> None:
        assign = state_def.get("Assign")
        if not ctx or not isinstance(assign, dict):
            return
        before = ctx.setdefault("variables", {})
        assigned: dict[str, Any] = {}
        for name, template in assign.items():
            alone = {**ctx, "variables": dict(before)}
            plain({**state_def, "Assign": {name: template}}, raw_input, alone, **results)
            assigned[name] = alone["variables"].get(name)
        before.update(assigned)

    states._apply_state_assign = together


def executions_end_in_time(changed: Callable[[], None]) -> None:
    """A state machine's `TimeoutSeconds` ends an execution as TIMED_OUT; an ended one stays as it is."""
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
        # From the start on, also where the cloud was away meanwhile.
        started = datetime.fromisoformat(execution["startDate"]).timestamp()
        remaining = max(0.0, started + seconds - time.time())
        timer = threading.Timer(remaining, contextvars.copy_context().run, (expire, execution))
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
    """True if the task that runs in this context is no longer waited for."""
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
        request = arguments if isinstance(arguments, dict) else {}
        permissions = needed(resource, request, REGION, ACCOUNT, hosted(component_of(request)))
        lacking = access.lacking(role, "states", permissions)
        if lacking is not None:
            error = error_of(permissions[0].action, lacking.permission)
            raise states._ExecutionError(f"{_error_prefix(states, resource)}.{error}", str(lacking))
        refusal = refused(resource, request, _error_prefix(states, resource))
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
    """Add SageMaker's optimised integrations; `.sync` ends a training job that is not waited for any more."""
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
        if action != "createTrainingJob" or not resource.endswith(".sync"):
            return call(action, arguments)
        place: dict[str, Any] = (_execution.get() or {}).get("place", {})
        if place.get("job") != arguments["TrainingJobName"]:  # else created before the cloud ended
            call(action, arguments)
            place["job"] = arguments["TrainingJobName"]
        while True:
            job = call("describeTrainingJob", {"TrainingJobName": arguments["TrainingJobName"]})
            if job["TrainingJobStatus"] == "Completed":
                return job
            if _is_over():
                call("stopTrainingJob", {"TrainingJobName": arguments["TrainingJobName"]})
                raise states._ExecutionError("States.Timeout", "the training job is stopped")
            if job["TrainingJobStatus"] in ("Failed", "Stopped"):
                place.pop("job", None)
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
            details = dict(re.findall(r"<(Code|Message)>([^<]*)<", problem.cause))
            if "Code" in details:
                problem.error = f"SNS.{details['Code'].removesuffix('Exception')}Exception"
                problem.cause = details.get("Message", "")
            raise

    states._SERVICE_DISPATCH["arn:aws:states:::sns:publish"] = publish_all
