"""API Gateway's own answers, as a template customises them, also where the gate refuses a request.

The engine knows gateway responses that are put one by one, and answers by them; it leaves out those that
stand in an imported definition, as the serverless transform writes them.
Shares the engine's private names with `engine`; each is listed in `names.TOUCHED`.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from protloc.cloud.engine.names import Response, module
from protloc.cloud.gate.claims import Refused

EXTENSION = "x-amazon-apigateway-gateway-responses"
"""https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-swagger-extensions-gateway-responses.html"""

_MISSING = ("MISSING_AUTHENTICATION_TOKEN", "MissingAuthenticationTokenException")


def repair_all() -> None:
    """An imported definition brings its gateway responses along."""
    gateway = module("ministack.services.apigateway_v1")
    import_api = gateway._import_rest_api

    def import_with_responses(spec: dict[str, Any], base_data: dict[str, Any] | None = None) -> str:
        api_id: str = import_api(spec, base_data)
        for kind, response in spec.get(EXTENSION, {}).items():
            gateway._put_gateway_response(api_id, kind, response)
        return api_id

    gateway._import_rest_api = import_with_responses
    gateway._AUTHENTICATION_GATEWAY_ERRORS["MissingAuthenticationToken"] = _MISSING


def refusal_of(path: str, refusal: Refused) -> Response | None:
    """The answer of the API at a path to a request that nobody known has signed; None where there is none."""
    _, _, _, api_id, stage, *_ = [*path.split("/"), "", "", "", ""]
    error = SimpleNamespace(code=refusal.code, message=str(refusal))
    gateway = module("ministack.services.apigateway_v1")
    answer: Response | None = gateway.authentication_error_response(api_id, stage, error, {}, {})
    return answer
