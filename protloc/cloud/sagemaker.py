"""SageMaker on this machine: training jobs, models, endpoints and inference components, and InvokeEndpoint.

Requests are checked against the AWS SDK's own service model, so a call AWS would refuse is refused here. A training
job is the real program as a process (`training`), an inference component the real inference code in a server process
(`components`, `serve`). Files are read and written as the role the request names.
"""

from __future__ import annotations

import functools
import json
import logging
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import botocore.loaders
import botocore.model
import botocore.validate

from protloc.cloud import training
from protloc.cloud.components import Component, EndedAnswering, NotRunning, unpack
from protloc.cloud.engine import ACCOUNT, REGION, Response

MAX_BODY_BYTES = 6 * 1024 * 1024
START_SECONDS = 600.0
TABLES = ("training_jobs", "models", "endpoint_configs", "endpoints", "components", "tags")

log = logging.getLogger("protloc.cloud")


class ServiceError(Exception):
    """A refusal, as AWS words it."""

    def __init__(self, code: str, message: str, status: int = 400, **fields: Any) -> None:
        super().__init__(message)
        self.code, self.status, self.fields = code, status, fields


def invalid(message: str) -> ServiceError:
    return ServiceError("ValidationException", message)


@functools.lru_cache(maxsize=1)
def service_model() -> botocore.model.ServiceModel:
    return botocore.model.ServiceModel(botocore.loaders.Loader().load_service_model("sagemaker", "service-2"))


def validated(action: str, request: dict[str, Any]) -> None:
    """Refuse what the service model does not allow: unknown or missing parameters, wrong types, out of range."""
    try:
        shape = service_model().operation_model(action).input_shape
    except botocore.model.OperationNotFoundError:
        raise ServiceError("UnknownOperationException", f"SageMaker has no operation {action}") from None
    if shape is not None:
        report = botocore.validate.ParamValidator().validate(request, shape)
        if report.has_errors():
            raise invalid(report.generate_report())


def coerced(value: Any, shape: Any) -> Any:
    """A CloudFormation property as the API wants it: a template's scalars may all be strings."""
    if shape.type_name == "structure" and isinstance(value, dict):
        return {k: coerced(v, shape.members[k]) if k in shape.members else v for k, v in value.items()}
    if shape.type_name == "list" and isinstance(value, list):
        return [coerced(item, shape.member) for item in value]
    if shape.type_name in ("integer", "long") and isinstance(value, str):
        return int(value)
    if shape.type_name in ("float", "double") and isinstance(value, (str, int)):
        return float(value)
    if shape.type_name == "boolean" and isinstance(value, str):
        return value.lower() == "true"
    return str(value) if shape.type_name == "string" and isinstance(value, int) else value


class SageMaker:
    """The service. `storage(role)` gives S3 as that role sees it; `environment(role)` a process's AWS variables."""

    name = signing_name = "sagemaker"
    target_prefix = "SageMaker"

    def __init__(
        self,
        home: Path,
        storage: Callable[[str], training.Storage],
        environment: Callable[[str], dict[str, str]],
        may_grow: Callable[[str], bool] = lambda resource: False,
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        self._home = home / "sagemaker"
        self._logs = home / "logs"
        self._storage, self._environment, self._may_grow, self._changed = storage, environment, may_grow, changed
        self._tables: dict[str, dict[str, Any]] = {name: {} for name in TABLES}
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._components: dict[str, Component] = {}
        self._lock = threading.RLock()
        self._resumed = threading.Event()

    # ── what the engine calls ───────────────────────────────

    def handle(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Response:
        """One HTTP request: a control plane call, or an invocation."""
        try:
            if path.startswith("/endpoints/") and path.endswith("/invocations"):
                return self._invocation(path.split("/")[2], headers, body)
            action = headers.get("x-amz-target", "").rpartition(".")[2]
            answer = self.call(action, json.loads(body or b"{}"))
            return 200, {"Content-Type": "application/x-amz-json-1.1"}, json.dumps(answer).encode()
        except ServiceError as refused:
            content = {"__type": refused.code, "message": str(refused), "Message": str(refused), **refused.fields}
            headers = {"Content-Type": "application/json", "x-amzn-ErrorType": refused.code}
            return refused.status, headers, json.dumps(content).encode()

    def authorisation(self, path: str, action: str, headers: Mapping[str, str], request: Mapping[str, Any]) -> str:
        if path.startswith("/endpoints/"):
            return _arn("endpoint", path.split("/")[2])
        for field, kind in (("TrainingJobName", "training-job"), ("InferenceComponentName", "inference-component"),
                            ("ModelName", "model"), ("EndpointConfigName", "endpoint-config"),
                            ("EndpointName", "endpoint")):
            if field in request and not action.startswith("List"):
                return _arn(kind, str(request[field]))
        return "*"

    def state(self) -> dict[str, Any]:
        return self._tables

    def restore(self, state: dict[str, Any]) -> None:
        """Take back saved state; `resume` then starts what should run."""
        self._tables = {name: state.get(name, {}) for name in TABLES}
        for job in self._tables["training_jobs"].values():
            if job["TrainingJobStatus"] in ("InProgress", "Stopping"):
                _finish(job, "Failed", "InternalServerError: the embedded cloud stopped while the job ran")

    def resume(self) -> None:
        """Once the cloud answers requests: bring back the components."""
        for name, component in list(self._tables["components"].items()):
            if component["InferenceComponentStatus"] == "Deleting":
                del self._tables["components"][name]
            elif component["InferenceComponentStatus"] != "Failed":
                self._spawn(self._host, component)
        self._resumed.set()

    def stop(self) -> None:
        for process in self._processes.values():
            process.terminate()
        for component in self._components.values():
            component.scale(0)

    def call(self, action: str, request: dict[str, Any]) -> dict[str, Any]:
        """One control plane call. Raises `ServiceError`."""
        validated(action, request)
        operation = getattr(self, f"_do_{action}", None)
        if operation is None:
            raise ServiceError("UnknownOperationException", f"{action} is not part of the embedded SageMaker")
        with self._lock:
            answer: dict[str, Any] = operation(request)
        return answer

    def from_template(self, action: str, properties: dict[str, Any]) -> dict[str, Any]:
        """A control plane call with a template's properties."""
        shape = service_model().operation_model(action).input_shape
        return self.call(action, coerced(properties, shape))

    # ── training ────────────────────────────────────────────

    def _do_CreateTrainingJob(self, request: dict[str, Any]) -> dict[str, Any]:
        name = request["TrainingJobName"]
        self._absent("training_jobs", name, "ResourceInUse", f"Training job names must be unique: {name} exists")
        now = time.time()
        job = self._tables["training_jobs"][name] = {
            **request,
            "TrainingJobArn": _arn("training-job", name),
            "TrainingJobStatus": "InProgress",
            "SecondaryStatus": "Starting",
            "CreationTime": now,
            "LastModifiedTime": now,
        }
        self._spawn(self._train, job)
        return {"TrainingJobArn": job["TrainingJobArn"]}

    def _do_DescribeTrainingJob(self, request: dict[str, Any]) -> dict[str, Any]:
        return self._find("training_jobs", request["TrainingJobName"], "Requested resource not found.")

    def _do_ListTrainingJobs(self, request: dict[str, Any]) -> dict[str, Any]:
        fields = ("TrainingJobName", "TrainingJobArn", "CreationTime", "TrainingJobStatus")
        jobs = self._tables["training_jobs"].values()
        return {"TrainingJobSummaries": [{field: job[field] for field in fields} for job in jobs]}

    def _do_StopTrainingJob(self, request: dict[str, Any]) -> dict[str, Any]:
        job = self._find("training_jobs", request["TrainingJobName"], "Requested resource not found.")
        if job["TrainingJobStatus"] != "InProgress":
            raise invalid(f"The request was rejected because the training job is in status {job['TrainingJobStatus']}.")
        job.update(TrainingJobStatus="Stopping", SecondaryStatus="Stopping")
        process = self._processes.get(job["TrainingJobName"])
        if process is not None:
            self._spawn(training.stop, process)
        return {}

    def _train(self, job: dict[str, Any]) -> None:
        name, role = job["TrainingJobName"], job["RoleArn"]
        folder = self._home / "training" / name
        shutil.rmtree(folder, ignore_errors=True)
        job["TrainingStartTime"] = time.time()
        job["SecondaryStatus"] = "Training"

        def started(process: subprocess.Popen[bytes]) -> None:
            self._processes[name] = process
            if job["TrainingJobStatus"] == "Stopping":
                process.terminate()

        try:
            result = training.run(job, folder, self._storage(role), self._environment(role), started)
        except training.JobFailed as problem:
            if job["TrainingJobStatus"] == "Stopping":
                _finish(job, "Stopped")
            else:
                _finish(job, "Failed", str(problem))
        except Exception as problem:
            log.exception("training job %s", name)
            _finish(job, "Failed", f"InternalServerError: {problem}")
        else:
            job.update(result)
            _finish(job, result["TrainingJobStatus"])
        self._processes.pop(name, None)

    # ── models and endpoints ────────────────────────────────

    def _do_CreateModel(self, request: dict[str, Any]) -> dict[str, Any]:
        name = request["ModelName"]
        self._absent("models", name, "ValidationException", f"Cannot create already existing model \"{_arn('model', name)}\".")
        self._tables["models"][name] = {**request, "ModelArn": _arn("model", name), "CreationTime": time.time()}
        return {"ModelArn": _arn("model", name)}

    def _do_DescribeModel(self, request: dict[str, Any]) -> dict[str, Any]:
        return self._find("models", request["ModelName"], f"Could not find model \"{_arn('model', request['ModelName'])}\".")

    def _do_DeleteModel(self, request: dict[str, Any]) -> dict[str, Any]:
        self._do_DescribeModel(request)
        del self._tables["models"][request["ModelName"]]
        return {}

    def _do_ListModels(self, request: dict[str, Any]) -> dict[str, Any]:
        fields = ("ModelName", "ModelArn", "CreationTime")
        return {"Models": [{field: model[field] for field in fields} for model in self._tables["models"].values()]}

    def _do_CreateEndpointConfig(self, request: dict[str, Any]) -> dict[str, Any]:
        name = request["EndpointConfigName"]
        arn = _arn("endpoint-config", name)
        self._absent("endpoint_configs", name, "ValidationException",
                     f"Cannot create already existing endpoint configuration \"{arn}\".")
        for variant in request["ProductionVariants"]:
            if "ModelName" in variant:
                self._do_DescribeModel(variant)
            elif not request.get("ExecutionRoleArn"):
                raise invalid("ExecutionRoleArn is required when a production variant names no model.")
        self._tables["endpoint_configs"][name] = {**request, "EndpointConfigArn": arn, "CreationTime": time.time()}
        return {"EndpointConfigArn": arn}

    def _do_DescribeEndpointConfig(self, request: dict[str, Any]) -> dict[str, Any]:
        name = request["EndpointConfigName"]
        return self._find("endpoint_configs", name,
                          f"Could not find endpoint configuration \"{_arn('endpoint-config', name)}\".")

    def _do_DeleteEndpointConfig(self, request: dict[str, Any]) -> dict[str, Any]:
        self._do_DescribeEndpointConfig(request)
        del self._tables["endpoint_configs"][request["EndpointConfigName"]]
        return {}

    def _do_CreateEndpoint(self, request: dict[str, Any]) -> dict[str, Any]:
        name, now = request["EndpointName"], time.time()
        self._absent("endpoints", name, "ValidationException",
                     f"Cannot create already existing endpoint \"{_arn('endpoint', name)}\".")
        self._do_DescribeEndpointConfig(request)
        self._tables["endpoints"][name] = {
            "EndpointName": name, "EndpointArn": _arn("endpoint", name), "EndpointStatus": "InService",
            "EndpointConfigName": request["EndpointConfigName"], "CreationTime": now, "LastModifiedTime": now,
        }
        return {"EndpointArn": _arn("endpoint", name)}

    def _do_UpdateEndpoint(self, request: dict[str, Any]) -> dict[str, Any]:
        endpoint = self._endpoint(request["EndpointName"])
        self._do_DescribeEndpointConfig(request)
        endpoint.update(EndpointConfigName=request["EndpointConfigName"], LastModifiedTime=time.time())
        return {"EndpointArn": endpoint["EndpointArn"]}

    def _do_DescribeEndpoint(self, request: dict[str, Any]) -> dict[str, Any]:
        endpoint = self._endpoint(request["EndpointName"])
        config = self._tables["endpoint_configs"].get(endpoint["EndpointConfigName"], {})
        variants = [
            {"VariantName": variant["VariantName"], "CurrentInstanceCount": 1, "DesiredInstanceCount": 1,
             **{k: variant[k] for k in ("ManagedInstanceScaling", "RoutingConfig") if k in variant}}
            for variant in config.get("ProductionVariants", [])
        ]
        return {**endpoint, "ProductionVariants": variants} if variants else endpoint

    def _do_DeleteEndpoint(self, request: dict[str, Any]) -> dict[str, Any]:
        name = request["EndpointName"]
        self._endpoint(name)
        used = [c["InferenceComponentName"] for c in self._tables["components"].values() if c["EndpointName"] == name]
        if used:
            raise invalid(f"Cannot delete endpoint {name}: it has the inference components {', '.join(used)}.")
        del self._tables["endpoints"][name]
        return {}

    # ── inference components ────────────────────────────────

    def _do_CreateInferenceComponent(self, request: dict[str, Any]) -> dict[str, Any]:
        name, now = request["InferenceComponentName"], time.time()
        arn = _arn("inference-component", name)
        self._absent("components", name, "ValidationException", f"Cannot create already existing inference component \"{arn}\".")
        endpoint = self._endpoint(request["EndpointName"])
        config = self._tables["endpoint_configs"][endpoint["EndpointConfigName"]]
        variants = [variant["VariantName"] for variant in config["ProductionVariants"]]
        if request.get("VariantName") not in variants:
            raise invalid(f"Could not find variant \"{request.get('VariantName')}\" of endpoint \"{endpoint['EndpointArn']}\".")
        specification = request.get("Specification") or {}
        if "ModelName" in specification:
            self._do_DescribeModel(specification)
        elif "ArtifactUrl" not in specification.get("Container", {}):
            raise invalid("An inference component needs Specification.ModelName or Specification.Container.")
        copies = int(request.get("RuntimeConfig", {}).get("CopyCount", 1))
        component = self._tables["components"][name] = {
            "InferenceComponentName": name, "InferenceComponentArn": arn, "EndpointName": endpoint["EndpointName"],
            "EndpointArn": endpoint["EndpointArn"], "VariantName": request["VariantName"],
            "Specification": specification, "InferenceComponentStatus": "Creating",
            "RuntimeConfig": {"DesiredCopyCount": copies, "CurrentCopyCount": 0},
            "CreationTime": now, "LastModifiedTime": now,
        }
        self._spawn(self._host, component)
        return {"InferenceComponentArn": arn}

    def _do_DescribeInferenceComponent(self, request: dict[str, Any]) -> dict[str, Any]:
        component = self._component(request["InferenceComponentName"])
        running = self._components.get(component["InferenceComponentName"])
        component["RuntimeConfig"]["CurrentCopyCount"] = running.running if running else 0
        return component

    def _do_ListInferenceComponents(self, request: dict[str, Any]) -> dict[str, Any]:
        fields = ("InferenceComponentName", "InferenceComponentArn", "InferenceComponentStatus", "EndpointName",
                  "EndpointArn", "VariantName", "CreationTime", "LastModifiedTime")
        wanted = request.get("EndpointNameEquals")
        found = [c for c in self._tables["components"].values() if wanted in (None, c["EndpointName"])]
        return {"InferenceComponents": [{field: component[field] for field in fields} for component in found]}

    def _do_UpdateInferenceComponent(self, request: dict[str, Any]) -> dict[str, Any]:
        component = self._component(request["InferenceComponentName"])
        if "RuntimeConfig" in request:
            component["RuntimeConfig"]["DesiredCopyCount"] = int(request["RuntimeConfig"]["CopyCount"])
        if "Specification" in request:
            component["Specification"] = request["Specification"]
            self._drop(component["InferenceComponentName"])
        component.update(InferenceComponentStatus="Updating", LastModifiedTime=time.time())
        self._spawn(self._host, component)
        return {"InferenceComponentArn": component["InferenceComponentArn"]}

    def _do_UpdateInferenceComponentRuntimeConfig(self, request: dict[str, Any]) -> dict[str, Any]:
        desired = {"CopyCount": request["DesiredRuntimeConfig"]["CopyCount"]}
        return self._do_UpdateInferenceComponent({"InferenceComponentName": request["InferenceComponentName"],
                                                  "RuntimeConfig": desired})

    def _do_DeleteInferenceComponent(self, request: dict[str, Any]) -> dict[str, Any]:
        component = self._component(request["InferenceComponentName"])
        component["InferenceComponentStatus"] = "Deleting"
        self._spawn(self.remove_now, component["InferenceComponentName"])
        return {}

    def _do_AddTags(self, request: dict[str, Any]) -> dict[str, Any]:
        tags = self._tables["tags"].setdefault(request["ResourceArn"], {})
        tags.update({tag["Key"]: tag["Value"] for tag in request["Tags"]})
        return {"Tags": [{"Key": key, "Value": value} for key, value in tags.items()]}

    def _do_ListTags(self, request: dict[str, Any]) -> dict[str, Any]:
        tags = self._tables["tags"].get(request["ResourceArn"], {})
        return {"Tags": [{"Key": key, "Value": value} for key, value in tags.items()]}

    def _host(self, component: dict[str, Any]) -> None:
        """Bring a component to its wanted number of copies, fetching its model first where it is new."""
        name = component["InferenceComponentName"]

        def failed(reason: str) -> None:
            component.update(InferenceComponentStatus="Failed", FailureReason=reason, LastModifiedTime=time.time())
            self._changed()

        def ready() -> None:
            if component["InferenceComponentStatus"] in ("Creating", "Updating"):
                component.update(InferenceComponentStatus="InService", LastModifiedTime=time.time())
                self._changed()

        if name not in self._components:
            try:
                model, environment = self._model(component)
            except Exception as problem:
                failed(f"The model could not be fetched: {problem}")
                return
            seconds = component["Specification"].get("StartupParameters", {})
            limit = float(seconds.get("ContainerStartupHealthCheckTimeoutInSeconds", START_SECONDS))
            log_path = self._logs / f"component-{name}.log"
            self._components[name] = Component(model, environment, log_path, limit, failed, ready)
        copies = component["RuntimeConfig"]["DesiredCopyCount"]
        self._components[name].scale(copies)
        if copies == 0 or self._components[name].running:
            ready()

    def _model(self, component: Mapping[str, Any]) -> tuple[Path, dict[str, str]]:
        """The unpacked model of a component and its environment; read from S3 once, as the hosting role."""
        specification = component["Specification"]
        endpoint = self._tables["endpoints"][component["EndpointName"]]
        config = self._tables["endpoint_configs"][endpoint["EndpointConfigName"]]
        model = self._tables["models"].get(specification.get("ModelName"), {})
        container = model.get("PrimaryContainer") or specification.get("Container") or {}
        url = container.get("ModelDataUrl") or container.get("ArtifactUrl")
        if not url:
            raise invalid("The model names no ModelDataUrl.")
        role = model.get("ExecutionRoleArn") or config.get("ExecutionRoleArn") or ""
        folder = self._home / "models" / component["InferenceComponentName"]
        source = folder.with_suffix(".source")
        if not folder.exists() or not source.exists() or source.read_text() != url:
            archive = folder.with_suffix(".tar.gz")
            archive.parent.mkdir(parents=True, exist_ok=True)
            self._storage(role).fetch(url, archive)
            unpack(archive, folder)
            archive.unlink()
            source.write_text(url)
        return folder, dict(container.get("Environment", {}))

    def _drop(self, name: str) -> None:
        running = self._components.pop(name, None)
        if running is not None:
            running.scale(0)

    def remove_now(self, name: str) -> None:
        """Stop a component and forget it, its unpacked model too."""
        self._drop(name)
        folder = self._home / "models" / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.with_suffix(".source").unlink(missing_ok=True)
        self._tables["components"].pop(name, None)

    # ── invocations ─────────────────────────────────────────

    def _invocation(self, endpoint: str, headers: Mapping[str, str], body: bytes) -> Response:
        """InvokeEndpoint: the component's answer, or the error AWS gives where there is none."""
        component = self._invoked(endpoint, headers.get("x-amzn-sagemaker-inference-component"))
        if len(body) > MAX_BODY_BYTES:
            raise ServiceError("ValidationError", f"expected a body of at most {MAX_BODY_BYTES} bytes, found {len(body)}")
        passed = {key: headers[key] for key in ("content-type", "accept") if key in headers}
        name = component["InferenceComponentName"]
        running = self._components.get(name)
        try:
            if running is None:
                raise NotRunning
            status, kind, answer = running.invoke(body, passed)
        except NotRunning:
            raise self._unavailable(component) from None
        except EndedAnswering as problem:
            raise _model_error(component, 500, str(problem)) from None
        except TimeoutError:
            raise _model_error(component, 0, "Your invocation timed out while waiting for a response.") from None
        if not 200 <= status < 300:
            raise _model_error(component, status, answer.decode("utf-8", "replace"))
        variant = component["VariantName"]
        # In lower case: the engine sets the protocol's own type where it finds "Content-Type".
        return 200, {"content-type": kind, "x-Amzn-Invoked-Production-Variant": variant}, answer

    def _invoked(self, endpoint: str, name: str | None) -> dict[str, Any]:
        if endpoint not in self._tables["endpoints"]:
            raise ServiceError("ValidationError", f"Endpoint {endpoint} of account {ACCOUNT} not found.")
        if name is None:
            raise ServiceError("ValidationError", f"Endpoint {endpoint} hosts inference components: name one.")
        component: dict[str, Any] | None = self._tables["components"].get(name)
        if component is None or component["EndpointName"] != endpoint:
            raise ServiceError("ValidationError", f"Inference Component {name} of endpoint {endpoint} not found.")
        return component

    def _unavailable(self, component: dict[str, Any]) -> ServiceError:
        """No copy answers: none wanted (brought back where scaling may), or none ready yet."""
        name = component["InferenceComponentName"]
        if component["RuntimeConfig"]["DesiredCopyCount"] == 0:
            if self._may_grow(f"inference-component/{name}"):
                self._do_UpdateInferenceComponent({"InferenceComponentName": name, "RuntimeConfig": {"CopyCount": 1}})
            return ServiceError("ValidationError", "Inference Component has no capacity to process this request. "
                                "ApplicationAutoScaling may be in-progress (if configured) or try to increase the "
                                "capacity by invoking UpdateInferenceComponentRuntimeConfig API.")
        if component["InferenceComponentStatus"] == "Failed":
            return ServiceError("ValidationError", f"Inference Component {name} is in status Failed.")
        return ServiceError("ModelNotReadyException", f"Inference Component {name} has no copy ready yet.", 429)

    # ── helpers ─────────────────────────────────────────────

    def _spawn(self, call: Callable[..., None], *arguments: Any) -> None:
        def run() -> None:
            call(*arguments)
            self._changed()

        threading.Thread(target=run, daemon=True, name="sagemaker").start()

    def _absent(self, table: str, name: str, code: str, message: str) -> None:
        if name in self._tables[table]:
            raise ServiceError(code, message)

    def _find(self, table: str, name: str, message: str) -> dict[str, Any]:
        found: dict[str, Any] | None = self._tables[table].get(name)
        if found is None:
            raise invalid(message)
        return found

    def _endpoint(self, name: str) -> dict[str, Any]:
        return self._find("endpoints", name, f"Could not find endpoint \"{_arn('endpoint', name)}\".")

    def _component(self, name: str) -> dict[str, Any]:
        return self._find("components", name, f"Could not find inference component \"{_arn('inference-component', name)}\".")


def _arn(kind: str, name: str) -> str:
    return f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:{kind}/{name}"


def _finish(job: dict[str, Any], status: str, reason: str | None = None) -> None:
    now = time.time()
    job.update(TrainingJobStatus=status, TrainingEndTime=now, LastModifiedTime=now)
    if job["SecondaryStatus"] not in ("Completed", "MaxRuntimeExceeded"):
        job["SecondaryStatus"] = status
    if reason:
        job["FailureReason"] = reason


def _model_error(component: Mapping[str, Any], status: int, message: str) -> ServiceError:
    text = f"Received error ({status}) from {component['InferenceComponentName']} with message \"{message}\"."
    return ServiceError("ModelError", text, 424, OriginalStatusCode=status, OriginalMessage=message[:1024], LogStreamArn="")
