"""API Gateway's own answers, as a template customises them, also where the gate refuses a request; limits of
one method, and compressed answers.

The engine knows gateway responses that are put one by one, and answers by them; it leaves out those that
stand in an imported definition, as the serverless transform writes them. It takes a method's path in settings
of a stage as it stands, where slashes are escaped, and keeps an API's minimum compression size without use.
Shares the engine's private names with `engine`; each is listed in `names.TOUCHED`.
"""

from __future__ import annotations

import gzip
from types import SimpleNamespace
from typing import Any

from protloc.cloud.engine.names import Response, module
from protloc.cloud.gate.claims import Refused

EXTENSION = "x-amazon-apigateway-gateway-responses"
"""https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-swagger-extensions-gateway-responses.html"""

_MISSING = ("MISSING_AUTHENTICATION_TOKEN", "MissingAuthenticationTokenException")


def repair_all() -> None:
    """Put every repair in place, once per process."""
    definitions_bring_their_responses()
    settings_name_their_methods()
    answers_are_compressed()


def definitions_bring_their_responses() -> None:
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


def settings_name_their_methods() -> None:
    """A template's settings of one method are of the path with its slashes, which it writes as `~1`.

    https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/aws-properties-apigateway-stage-methodsetting.html
    """
    provisioners = module("ministack.services.cloudformation.provisioners")
    read = provisioners._apigw_method_settings

    def of_paths(raw: Any) -> Any:
        settings: Any = read(raw)
        return {key.removeprefix("/").replace("~1", "/"): setting for key, setting in settings.items()}

    provisioners._apigw_method_settings = of_paths


def answers_are_compressed() -> None:
    """An answer of an API's minimum compression size or more is gzip for a caller who takes that.

    https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-gzip-compression-decompression.html
    """
    gateway = module("ministack.services.apigateway_v1")
    handle = gateway._handle_execute_in_scope

    async def compressed(
        api_id: str, stage: str, method: str, path: str, headers: dict[str, str], *rest: Any
    ) -> Response:
        status, answered, body = await handle(api_id, stage, method, path, headers, *rest)
        least = (gateway._rest_apis.get(api_id) or {}).get("minimumCompressionSize")
        accepted = next((value for name, value in headers.items() if name.lower() == "accept-encoding"), "")
        if least is None or "gzip" not in accepted or len(body) < max(int(least), 1):
            return status, answered, body
        return status, {**answered, "Content-Encoding": "gzip"}, gzip.compress(body)

    gateway._handle_execute_in_scope = compressed


def refusal_of(path: str, refusal: Refused) -> Response | None:
    """The answer of the API at a path to a request that nobody known has signed; None where there is none."""
    _, _, _, api_id, stage, *_ = [*path.split("/"), "", "", "", ""]
    error = SimpleNamespace(code=refusal.code, message=str(refusal))
    gateway = module("ministack.services.apigateway_v1")
    answer: Response | None = gateway.authentication_error_response(api_id, stage, error, {}, {})
    return answer
