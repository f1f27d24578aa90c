"""SageMaker on this machine: training jobs, models, model packages, endpoints and inference components, and
InvokeEndpoint.

Requests are checked against the AWS SDK's own service model, so a call AWS would refuse is refused here. A
training job is the real program as a process (`jobs`, `training`), an inference component the real inference
code in a server process (`hosting`, `components`, `serve`); the rest are records (`endpoints`, `packages`).
Files are read and written as the role the request names.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from protloc.cloud.contracts import shapes
from protloc.cloud.contracts.permissions import SAGEMAKER_KINDS
from protloc.cloud.engine.names import Response
from protloc.cloud.sagemaker.endpoints import Endpoints
from protloc.cloud.sagemaker.hosting import Hosting
from protloc.cloud.sagemaker.jobs import Jobs
from protloc.cloud.sagemaker.packages import Packages, package_arn
from protloc.cloud.sagemaker.records import TABLES, Records, ServiceError, arn, invalid, snake_case
from protloc.cloud.sagemaker.storage import Storage


class SageMaker:
    """The service. `storage(role)` gives S3 as that role sees it; `environment(role)` a process's AWS
    variables.
    """

    name = signing_name = "sagemaker"
    target_prefix = "SageMaker"

    def __init__(
        self,
        home: Path,
        storage: Callable[[str], Storage],
        environment: Callable[[str], dict[str, str]],
        may_grow: Callable[[str], bool] = lambda resource: False,
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        self._records = Records(changed)
        self._jobs = Jobs(self._records, home / "sagemaker" / "training", storage, environment)
        self._hosting = Hosting(
            self._records, home / "sagemaker" / "models", home / "logs", storage, may_grow
        )
        self._parts = (self._jobs, self._hosting, Endpoints(self._records), Packages(self._records), self)
        self._lock = threading.RLock()

    def handle(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Response:
        """One HTTP request: a control plane call, or an invocation."""
        try:
            if path.startswith("/endpoints/") and path.endswith("/invocations"):
                return self._hosting.invocation(path.split("/")[2], headers, body)
            action = headers.get("x-amz-target", "").rpartition(".")[2]
            answer = self.call(action, json.loads(body or b"{}"))
            return 200, {"Content-Type": "application/x-amz-json-1.1"}, json.dumps(answer).encode()
        except ServiceError as refused:
            content = {
                "__type": refused.code,
                "message": str(refused),
                "Message": str(refused),
                **refused.fields,
            }
            kind = {"Content-Type": "application/json", "x-amzn-ErrorType": refused.code}
            return refused.status, kind, json.dumps(content).encode()

    def authorisation(
        self, path: str, action: str, headers: Mapping[str, str], request: Mapping[str, Any]
    ) -> str:
        if path.startswith("/endpoints/"):
            return arn("endpoint", path.split("/")[2])
        if action == "CreateModelPackage" and "ModelPackageGroupName" in request:
            return arn("model-package", f"{_name(request['ModelPackageGroupName'])}/*")
        for field in ("ModelPackageArn", "ModelPackageName"):
            if field in request:
                return package_arn(str(request[field]))
        if not action.startswith("List"):
            for field, kind in SAGEMAKER_KINDS.items():
                if field in request:
                    return arn(kind, _name(request[field]))
        return "*"

    def hosted(self, component: str | None) -> dict[str, str]:
        """The endpoint of an inference component and its configuration; nothing where it is on none."""
        component_record = self._records.tables["components"].get(component or "")
        endpoint = (
            self._records.tables["endpoints"].get(component_record["EndpointName"])
            if component_record
            else None
        )
        if endpoint is None:
            return {}
        return {"endpoint": endpoint["EndpointName"], "endpoint_config": endpoint["EndpointConfigName"]}

    def state(self) -> dict[str, Any]:
        return self._records.tables

    def restore(self, state: dict[str, Any]) -> None:
        """Take back saved state; `resume` then starts the jobs and models that should run."""
        self._records.tables = {name: state.get(name, {}) for name in TABLES}
        self._jobs.interrupted()

    def resume(self) -> None:
        """Once the cloud answers requests: bring back the components, and the jobs that may go on."""
        self._hosting.resume()
        self._jobs.resume()

    def await_return(self, seconds: float) -> None:
        """Return when every component that was in service is again, or after so long."""
        self._hosting.await_return(seconds)

    def at_work(self) -> bool:
        """True if a job trains, or a model is on its way into or out of service."""
        jobs, components = self._records.tables["training_jobs"], self._records.tables["components"]
        return any(
            job["TrainingJobStatus"] in ("InProgress", "Stopping") for job in list(jobs.values())
        ) or any(
            component["InferenceComponentStatus"] not in ("InService", "Failed")
            for component in list(components.values())
        )

    def interrupt(self) -> None:
        """Have the training jobs write their checkpoints and end; they go on with the next cloud."""
        self._jobs.interrupt()

    def stop(self) -> None:
        """End every process of the service."""
        self._jobs.stop()
        self._hosting.stop()

    def remove_now(self, component: str) -> None:
        """Stop a component and forget it, its unpacked model too."""
        self._hosting.remove_now(component)

    def call(self, action: str, request: dict[str, Any]) -> dict[str, Any]:
        """One control plane call. Raises `ServiceError`."""
        try:
            problem = shapes.problems("sagemaker", action, request)
        except shapes.UnknownOperationError:
            raise ServiceError("UnknownOperationException", f"SageMaker has no operation {action}") from None
        if problem:
            raise invalid(problem)
        name = f"do_{snake_case(action)}"
        for part in self._parts:
            operation = getattr(part, name, None)
            if operation is not None:
                with self._lock:
                    answer: dict[str, Any] = operation(request)
                return answer
        raise ServiceError("UnknownOperationException", f"{action} is not part of the embedded SageMaker")

    def from_template(self, action: str, properties: dict[str, Any]) -> dict[str, Any]:
        """A control plane call with a template's properties."""
        return self.call(action, shapes.from_template("sagemaker", action, properties))

    def do_add_tags(self, request: dict[str, Any]) -> dict[str, Any]:
        tags = self._records.tables["tags"].setdefault(request["ResourceArn"], {})
        tags.update({tag["Key"]: tag["Value"] for tag in request["Tags"]})
        return {"Tags": [{"Key": key, "Value": value} for key, value in tags.items()]}

    def do_list_tags(self, request: dict[str, Any]) -> dict[str, Any]:
        tags = self._records.tables["tags"].get(request["ResourceArn"], {})
        return {"Tags": [{"Key": key, "Value": value} for key, value in tags.items()]}


def _name(name_or_arn: Any) -> str:
    return str(name_or_arn).rsplit("/", 1)[-1]
