"""SageMaker's hosting: inference components and InvokeEndpoint.

Each component is the real inference code in server processes of its own (`components`). Its model is read
from S3 once, as the role that hosts it, and kept unpacked.
"""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from protloc.cloud.engine.names import ACCOUNT, Response
from protloc.cloud.sagemaker.components import Component, unpack
from protloc.cloud.sagemaker.records import Records, ServiceError, invalid
from protloc.cloud.sagemaker.servers import EndedAnswering, NotRunning
from protloc.cloud.sagemaker.storage import Storage

MAX_BODY_BYTES = 6 * 1024 * 1024
START_SECONDS = 600.0

log = logging.getLogger("protloc.cloud")


class Hosting:
    """The operations on inference components, and invocations of them."""

    def __init__(
        self,
        records: Records,
        folder: Path,
        logs: Path,
        storage: Callable[[str], Storage],
        may_grow: Callable[[str], bool],
    ) -> None:
        self._records, self._folder, self._logs = records, folder, logs
        self._storage, self._may_grow = storage, may_grow
        self._components: dict[str, Component] = {}

    def resume(self) -> None:
        """Once the cloud answers requests: bring back the components."""
        for name, component in list(self._records.tables["components"].items()):
            if component["InferenceComponentStatus"] == "Deleting":
                del self._records.tables["components"][name]
            elif component["InferenceComponentStatus"] != "Failed":
                self._records.spawn(self._host, component)

    def await_return(self, seconds: float) -> None:
        """Return when every component that was in service is again, or after so long."""
        deadline = time.monotonic() + seconds
        while any(map(self._is_missing, list(self._records.tables["components"].values()))):
            if time.monotonic() > deadline:
                log.warning("no model is back after %.0f s; going on without", seconds)
                return
            time.sleep(0.05)

    def _is_missing(self, component: Mapping[str, Any]) -> bool:
        """True if a component that should be in service has no copy that runs."""
        running = self._components.get(component["InferenceComponentName"])
        copies = component["RuntimeConfig"]["DesiredCopyCount"]
        serving = component["InferenceComponentStatus"] == "InService"
        return serving and copies > 0 and not (running and running.running)

    def stop(self) -> None:
        for component in list(self._components.values()):
            component.scale(0)

    # ── inference components ────────────────────────────────

    def do_create_inference_component(self, request: dict[str, Any]) -> dict[str, Any]:
        name, now = request["InferenceComponentName"], time.time()
        own_arn = self._records.free_arn("components", name)
        endpoint = self._records.named("endpoints", request["EndpointName"])
        config = self._records.tables["endpoint_configs"][endpoint["EndpointConfigName"]]
        variants = [variant["VariantName"] for variant in config["ProductionVariants"]]
        variant = request.get("VariantName")
        if variant not in variants:
            raise invalid(f'Could not find variant "{variant}" of endpoint "{endpoint["EndpointArn"]}".')
        specification = request.get("Specification") or {}
        if "ModelName" in specification:
            self._records.named("models", specification["ModelName"])
        elif "ArtifactUrl" not in specification.get("Container", {}):
            raise invalid("An inference component needs Specification.ModelName or Specification.Container.")
        copies = int(request.get("RuntimeConfig", {}).get("CopyCount", 1))
        component = self._records.tables["components"][name] = {
            "InferenceComponentName": name,
            "InferenceComponentArn": own_arn,
            "EndpointName": endpoint["EndpointName"],
            "EndpointArn": endpoint["EndpointArn"],
            "VariantName": request["VariantName"],
            "Specification": specification,
            "InferenceComponentStatus": "Creating",
            "RuntimeConfig": {"DesiredCopyCount": copies, "CurrentCopyCount": 0},
            "CreationTime": now,
            "LastModifiedTime": now,
        }
        self._records.spawn(self._host, component)
        return {"InferenceComponentArn": own_arn}

    def do_describe_inference_component(self, request: dict[str, Any]) -> dict[str, Any]:
        component = self._records.named("components", request["InferenceComponentName"])
        running = self._components.get(component["InferenceComponentName"])
        component["RuntimeConfig"]["CurrentCopyCount"] = running.running if running else 0
        return component

    def do_list_inference_components(self, request: dict[str, Any]) -> dict[str, Any]:
        fields = (
            "InferenceComponentName",
            "InferenceComponentArn",
            "InferenceComponentStatus",
            "EndpointName",
            "EndpointArn",
            "VariantName",
            "CreationTime",
            "LastModifiedTime",
        )
        endpoint = request.get("EndpointNameEquals")
        components = [
            c for c in self._records.tables["components"].values() if endpoint in (None, c["EndpointName"])
        ]
        return {
            "InferenceComponents": [{field: component[field] for field in fields} for component in components]
        }

    def do_update_inference_component(self, request: dict[str, Any]) -> dict[str, Any]:
        component = self._records.named("components", request["InferenceComponentName"])
        if "RuntimeConfig" in request:
            component["RuntimeConfig"]["DesiredCopyCount"] = int(request["RuntimeConfig"]["CopyCount"])
        if "Specification" in request:
            component["Specification"] = request["Specification"]
            self._drop(component["InferenceComponentName"])
        component.update(InferenceComponentStatus="Updating", LastModifiedTime=time.time())
        self._records.spawn(self._host, component)
        return {"InferenceComponentArn": component["InferenceComponentArn"]}

    def do_update_inference_component_runtime_config(self, request: dict[str, Any]) -> dict[str, Any]:
        desired = {"CopyCount": request["DesiredRuntimeConfig"]["CopyCount"]}
        return self.do_update_inference_component(
            {"InferenceComponentName": request["InferenceComponentName"], "RuntimeConfig": desired}
        )

    def do_delete_inference_component(self, request: dict[str, Any]) -> dict[str, Any]:
        component = self._records.named("components", request["InferenceComponentName"])
        component["InferenceComponentStatus"] = "Deleting"
        self._records.spawn(self.remove_now, component["InferenceComponentName"])
        return {}

    def _host(self, component: dict[str, Any]) -> None:
        """Bring a component to its wanted number of copies, fetching its model first where it is new."""
        name = component["InferenceComponentName"]

        def failed(reason: str) -> None:
            component.update(
                InferenceComponentStatus="Failed", FailureReason=reason, LastModifiedTime=time.time()
            )
            self._records.changed()

        def ready() -> None:
            if component["InferenceComponentStatus"] in ("Creating", "Updating"):
                component.update(InferenceComponentStatus="InService", LastModifiedTime=time.time())
                self._records.changed()

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
        endpoint = self._records.tables["endpoints"][component["EndpointName"]]
        config = self._records.tables["endpoint_configs"][endpoint["EndpointConfigName"]]
        model = self._records.tables["models"].get(specification.get("ModelName"), {})
        container = model.get("PrimaryContainer") or specification.get("Container") or {}
        url = container.get("ModelDataUrl") or container.get("ArtifactUrl")
        if not url:
            raise invalid("The model names no ModelDataUrl.")
        role = model.get("ExecutionRoleArn") or config.get("ExecutionRoleArn") or ""
        folder = self._folder / component["InferenceComponentName"]
        source = folder.with_suffix(".source")
        if not folder.exists() or not source.exists() or source.read_text() != url:
            archive = folder.with_suffix(".tar.gz")
            archive.parent.mkdir(parents=True, exist_ok=True)
            self._storage(role).fetch(url, archive)
            unpack(archive, folder)
            archive.unlink()
            shutil.rmtree(folder.with_suffix(".scratch"), ignore_errors=True)
            source.write_text(url)
        return folder, dict(container.get("Environment", {}))

    def _drop(self, name: str) -> None:
        running = self._components.pop(name, None)
        if running is not None:
            running.scale(0)

    def remove_now(self, name: str) -> None:
        """Stop a component and forget it, its unpacked model too."""
        self._drop(name)
        folder = self._folder / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.with_suffix(".source").unlink(missing_ok=True)
        self._records.tables["components"].pop(name, None)

    # ── invocations ─────────────────────────────────────────

    def invocation(self, endpoint: str, headers: Mapping[str, str], body: bytes) -> Response:
        """InvokeEndpoint: the component's answer, or the error AWS gives where there is none."""
        component = self._invoked(endpoint, headers.get("x-amzn-sagemaker-inference-component"))
        if len(body) > MAX_BODY_BYTES:
            raise ServiceError(
                "ValidationError", f"expected a body of at most {MAX_BODY_BYTES} bytes, found {len(body)}"
            )
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
            raise _model_error(
                component, 0, "Your invocation timed out while waiting for a response."
            ) from None
        if not 200 <= status < 300:
            raise _model_error(component, status, answer.decode("utf-8", "replace"))
        variant = component["VariantName"]
        # In lower case: the engine sets the protocol's own type where it finds "Content-Type".
        return 200, {"content-type": kind, "x-Amzn-Invoked-Production-Variant": variant}, answer

    def _invoked(self, endpoint: str, name: str | None) -> dict[str, Any]:
        if endpoint not in self._records.tables["endpoints"]:
            raise ServiceError("ValidationError", f"Endpoint {endpoint} of account {ACCOUNT} not found.")
        if name is None:
            raise ServiceError(
                "ValidationError", f"Endpoint {endpoint} hosts inference components: name one."
            )
        component: dict[str, Any] | None = self._records.tables["components"].get(name)
        if component is None or component["EndpointName"] != endpoint:
            raise ServiceError(
                "ValidationError", f"Inference Component {name} of endpoint {endpoint} not found."
            )
        return component

    def _unavailable(self, component: dict[str, Any]) -> ServiceError:
        """No copy answers: none wanted (brought back where scaling may), or none ready yet."""
        name = component["InferenceComponentName"]
        if component["RuntimeConfig"]["DesiredCopyCount"] == 0:
            if self._may_grow(f"inference-component/{name}"):
                self.do_update_inference_component(
                    {"InferenceComponentName": name, "RuntimeConfig": {"CopyCount": 1}}
                )
            return ServiceError(
                "ValidationError",
                "Inference Component has no capacity to process this request. "
                "ApplicationAutoScaling may be in-progress (if configured) or try to increase the "
                "capacity by invoking UpdateInferenceComponentRuntimeConfig API.",
            )
        if component["InferenceComponentStatus"] == "Failed":
            return ServiceError("ValidationError", f"Inference Component {name} is in status Failed.")
        return ServiceError(
            "ModelNotReadyException", f"Inference Component {name} has no copy ready yet.", 429
        )


def _model_error(component: Mapping[str, Any], status: int, message: str) -> ServiceError:
    text = f'Received error ({status}) from {component["InferenceComponentName"]} with message "{message}".'
    return ServiceError(
        "ModelError", text, 424, OriginalStatusCode=status, OriginalMessage=message[:1024], LogStreamArn=""
    )
