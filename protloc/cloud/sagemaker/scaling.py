"""Application Auto Scaling, as far as the stack registers with it: targets and policies are kept, none of
them acts.

One machine has nothing to gain from scaling down; a component registered with a capacity of one or more is
brought back by a call that finds no copy of it (`sagemaker`).
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any

from protloc.cloud.engine.names import ACCOUNT, REGION, Headers, Response

IDENTITY = ("ServiceNamespace", "ResourceId", "ScalableDimension")


class Scaling:
    """The service's state and operations."""

    name = "application-autoscaling"
    target_prefix = "AnyScaleFrontendService"
    signing_name = "application-autoscaling"

    def __init__(self) -> None:
        self._targets: dict[str, dict[str, Any]] = {}
        self._policies: dict[str, dict[str, Any]] = {}

    def state(self) -> dict[str, Any]:
        return {"targets": self._targets, "policies": self._policies}

    def restore(self, state: dict[str, Any]) -> None:
        self._targets = state.get("targets", {})
        self._policies = state.get("policies", {})

    def authorisation(
        self, path: str, action: str, headers: Mapping[str, str], request: Mapping[str, Any]
    ) -> str:
        target = f"arn:aws:application-autoscaling:{REGION}:{ACCOUNT}:scalable-target/*"
        return "*" if action.startswith("Describe") else target  # a list is about no target

    def handle(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Response:
        action = headers.get("x-amz-target", "").rpartition(".")[2]
        kind: Headers = {"Content-Type": "application/x-amz-json-1.1"}
        try:
            answer = self.call(action, json.loads(body or b"{}"))
        except LookupError as missing:
            return (
                400,
                kind,
                json.dumps({"__type": "ObjectNotFoundException", "message": str(missing)}).encode(),
            )
        return 200, kind, json.dumps(answer).encode()

    def call(self, action: str, request: dict[str, Any]) -> dict[str, Any]:
        target = "|".join(str(request.get(part, "")) for part in IDENTITY)
        policy = f"{target}|{request.get('PolicyName', '')}"
        arn = f"arn:aws:autoscaling:{REGION}:{ACCOUNT}:scalingPolicy:{policy}"
        if action == "RegisterScalableTarget":
            self._targets[target] = {"CreationTime": time.time(), **self._targets.get(target, {}), **request}
            prefix = f"arn:aws:application-autoscaling:{REGION}:{ACCOUNT}:scalable-target"
            return {"ScalableTargetARN": f"{prefix}/{target}"}
        if action == "PutScalingPolicy":
            self._find(self._targets, target)
            self._policies[policy] = {"CreationTime": time.time(), "PolicyARN": arn, **request}
            return {"PolicyARN": arn, "Alarms": []}
        if action == "DeregisterScalableTarget":
            self._find(self._targets, target)
            del self._targets[target]
            self._policies = {k: v for k, v in self._policies.items() if not k.startswith(f"{target}|")}
            return {}
        if action == "DeleteScalingPolicy":
            self._find(self._policies, policy)
            del self._policies[policy]
            return {}
        if action == "DescribeScalableTargets":
            resources = set(request.get("ResourceIds", []))
            return {
                "ScalableTargets": [
                    t for t in self._targets.values() if not resources or t["ResourceId"] in resources
                ]
            }
        if action == "DescribeScalingPolicies":
            resource = request.get("ResourceId")
            return {
                "ScalingPolicies": [p for p in self._policies.values() if resource in (None, p["ResourceId"])]
            }
        return {}

    def may_grow(self, resource: str) -> bool:
        """True if a target registered for `resource` may have at least one copy."""
        return any(
            t["ResourceId"] == resource and int(t.get("MaxCapacity", 0)) > 0 for t in self._targets.values()
        )

    @staticmethod
    def _find(table: Mapping[str, Any], key: str) -> None:
        if key not in table:
            raise LookupError(f"No scalable target or policy found for {key.replace('|', ', ')}")
