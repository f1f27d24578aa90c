"""SageMaker's models, endpoint configurations and endpoints: records only.

An endpoint holds no model of its own here; it serves its inference components (`hosting`).
"""

from __future__ import annotations

import time
from typing import Any

from protloc.cloud.sagemaker.records import Records, invalid


class Endpoints:
    """The operations on models, endpoint configurations and endpoints."""

    def __init__(self, records: Records) -> None:
        self._records = records

    def do_create_model(self, request: dict[str, Any]) -> dict[str, Any]:
        name = request["ModelName"]
        own_arn = self._records.free_arn("models", name)
        self._records.tables["models"][name] = {
            **request,
            "ModelArn": own_arn,
            "CreationTime": time.time(),
        }
        return {"ModelArn": own_arn}

    def do_describe_model(self, request: dict[str, Any]) -> dict[str, Any]:
        return self._records.named("models", request["ModelName"])

    def do_delete_model(self, request: dict[str, Any]) -> dict[str, Any]:
        self._records.delete("models", request["ModelName"])
        return {}

    def do_list_models(self, request: dict[str, Any]) -> dict[str, Any]:
        fields = ("ModelName", "ModelArn", "CreationTime")
        models = self._records.tables["models"].values()
        return {"Models": [{field: model[field] for field in fields} for model in models]}

    def do_create_endpoint_config(self, request: dict[str, Any]) -> dict[str, Any]:
        name = request["EndpointConfigName"]
        own_arn = self._records.free_arn("endpoint_configs", name)
        for variant in request["ProductionVariants"]:
            if "ModelName" in variant:
                self._records.named("models", variant["ModelName"])
            elif not request.get("ExecutionRoleArn"):
                raise invalid("ExecutionRoleArn is required when a production variant names no model.")
        self._records.tables["endpoint_configs"][name] = {
            **request,
            "EndpointConfigArn": own_arn,
            "CreationTime": time.time(),
        }
        return {"EndpointConfigArn": own_arn}

    def do_describe_endpoint_config(self, request: dict[str, Any]) -> dict[str, Any]:
        return self._records.named("endpoint_configs", request["EndpointConfigName"])

    def do_delete_endpoint_config(self, request: dict[str, Any]) -> dict[str, Any]:
        self._records.delete("endpoint_configs", request["EndpointConfigName"])
        return {}

    def do_create_endpoint(self, request: dict[str, Any]) -> dict[str, Any]:
        name, now = request["EndpointName"], time.time()
        own_arn = self._records.free_arn("endpoints", name)
        self._records.named("endpoint_configs", request["EndpointConfigName"])
        self._records.tables["endpoints"][name] = {
            "EndpointName": name,
            "EndpointArn": own_arn,
            "EndpointStatus": "InService",
            "EndpointConfigName": request["EndpointConfigName"],
            "CreationTime": now,
            "LastModifiedTime": now,
        }
        return {"EndpointArn": own_arn}

    def do_update_endpoint(self, request: dict[str, Any]) -> dict[str, Any]:
        endpoint = self._records.named("endpoints", request["EndpointName"])
        self._records.named("endpoint_configs", request["EndpointConfigName"])
        endpoint.update(EndpointConfigName=request["EndpointConfigName"], LastModifiedTime=time.time())
        return {"EndpointArn": endpoint["EndpointArn"]}

    def do_describe_endpoint(self, request: dict[str, Any]) -> dict[str, Any]:
        endpoint = self._records.named("endpoints", request["EndpointName"])
        config = self._records.tables["endpoint_configs"].get(endpoint["EndpointConfigName"], {})
        variants = [
            {
                "VariantName": variant["VariantName"],
                "CurrentInstanceCount": 1,
                "DesiredInstanceCount": 1,
                **{k: variant[k] for k in ("ManagedInstanceScaling", "RoutingConfig") if k in variant},
            }
            for variant in config.get("ProductionVariants", [])
        ]
        return {**endpoint, "ProductionVariants": variants} if variants else endpoint

    def do_delete_endpoint(self, request: dict[str, Any]) -> dict[str, Any]:
        name = request["EndpointName"]
        self._records.named("endpoints", name)
        components = self._records.tables["components"].values()
        used = [each["InferenceComponentName"] for each in components if each["EndpointName"] == name]
        if used:
            raise invalid(
                f"Cannot delete endpoint {name}: it has the inference components {', '.join(used)}."
            )
        self._records.delete("endpoints", name)
        return {}
