"""The way into a running cloud: nothing reaches the engine that a known caller has not signed.

Refused before anything else is looked at: names of the machine that are not its own, which a web page can
have pointed here (DNS rebinding), and all that a browser sends for a page (`Origin`, preflights). No answer
allows a page to read it. Without a signature only `/_protloc/health` answers, and says no more than that.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any, Protocol

from protloc.cloud.gate.asgi import Body, Receive, Response, Send, answer, replayed, request_of, without_cors
from protloc.cloud.gate.claims import Claim, Refused, Sent, claim_of
from protloc.cloud.gate.forms import check_policy, claim_of_form, is_form
from protloc.cloud.gate.keys import Keys
from protloc.cloud.gate.signatures import body_must_be_read, check, check_body, check_time
from protloc.cloud.idleness import LOOKING, Idleness

log = logging.getLogger("protloc.cloud")

HEALTH = "/_protloc/health"
OWN_SERVICE = "protloc"  # requests about the cloud itself are signed for this service
API_PATH = "/_aws/execute-api/"
OF_A_SIGNATURE = {b"authorization", b"x-amz-date", b"x-amz-content-sha256", b"x-amz-security-token"}
# Where a custom resource answers, at an address that CloudFormation told it alone; on AWS a presigned one.
RESPONSES_PATH = "/_ministack/cfn-response/"
MAX_ANSWER_BYTES = 1 << 20
# Of a request whose signature says nothing of its body: more than any call of a service but S3's.
MAX_UNDECLARED_BYTES = 128 << 20
INLINE_BYTES = 1 << 20  # longer bodies are hashed beside the other requests
HASHING_THREADS = 2


class Engine(Protocol):
    """The services behind, and the callers they know besides the owner."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None: ...

    def secret_of(self, access_key: str, token: str) -> str:
        """The secret of a caller's key. Raises `Refused`."""
        ...

    def refused(
        self, method: str, path: str, query: str, headers: dict[str, str], refusal: Refused
    ) -> Response:
        """The answer of the service that a refused request asked."""
        ...

    def refused_by_api(self, path: str, refusal: Refused) -> Response | None:
        """The answer of the API at a path to a refused request; None where there is none."""
        ...

    def health(self) -> dict[str, Any]:
        """The cloud's account of itself, for its owner."""
        ...

    def is_own(self, access_key: str) -> bool:
        """True if the key is one that the cloud gave to its functions and jobs."""
        ...


class Gate:
    """The ASGI application that a cloud serves on `port`; the holder of its key is the account's root."""

    def __init__(self, engine: Engine, port: int, keys: Keys, idleness: Idleness) -> None:
        self._engine, self._keys, self._idleness = engine, keys, idleness
        self._hashing = ThreadPoolExecutor(HASHING_THREADS, "gate-hashing")
        self._hosts = {f"{name}:{port}" for name in ("127.0.0.1", "localhost")}

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._engine(scope, receive, send)
            return
        if scope["type"] != "http":
            await receive()
            await send({"type": "websocket.close", "code": 1008})
            return
        scope = _as_another_host_is_asked(scope)
        sent, reading = request_of(scope), Body(receive)
        try:
            self._require_own_name(sent)
            if sent.path == HEALTH and not sent.header("authorization"):
                await answer(send, sent, (200, {"Content-Type": "application/json"}, b"{}"))
                return
            body = await self._admit(sent, reading)
        except _Misdirected as problem:
            await reading.discard()
            await answer(send, sent, (403, {"Content-Type": "text/plain"}, f"{problem}\n".encode()))
            return
        except Refused as refusal:
            await reading.discard()
            await answer(send, sent, self._refused(sent, refusal))
            return
        if sent.path == HEALTH:
            report = json.dumps(self._engine.health()).encode()
            await answer(send, sent, (200, {"Content-Type": "application/json"}, report))
            return
        with self._idleness.request() if self._is_from_outside(sent) else contextlib.nullcontext():
            await self._engine(
                scope, receive if body is None else replayed(body, receive), without_cors(send)
            )

    def _is_from_outside(self, sent: Sent) -> bool:
        """True if a request shows that the cloud is used: it is no function's, and no mere look at it."""
        if sent.path.startswith(RESPONSES_PATH) or LOOKING in (sent.header("user-agent") or ""):
            return False
        if is_form(sent):  # signed in its body
            return True
        claim = claim_of(sent)
        return claim.expires_seconds is not None or not self._engine.is_own(claim.access_key)

    def _require_own_name(self, sent: Sent) -> None:
        hosts = [value for name, value in sent.headers if name == "host"]
        if len(hosts) != 1 or hosts[0].lower() not in self._hosts:
            raise _Misdirected("this is the embedded cloud of one machine, and has no such name")
        if sent.header("origin") is not None or sent.method == "OPTIONS":
            raise _Misdirected("web pages may not call the embedded cloud")
        if not sent.path.startswith("/") or not (sent.path + sent.query).isascii():
            raise _Misdirected("expected a path in ASCII letters")
        if not (sent.path + sent.query).isprintable() or set(' #"<>\\^`{|}') & set(sent.path):
            raise _Misdirected("expected a path whose special characters are encoded")
        answers = sent.method == "PUT" and sent.path.startswith(RESPONSES_PATH)
        known = sent.path == HEALTH or sent.path.startswith(API_PATH) or answers
        if sent.path.startswith("/_") and not known:
            raise _Misdirected("there is no such page")  # of the engine's own, which look after themselves

    async def _admit(self, sent: Sent, reading: Body) -> bytes | None:
        """The body of a request whose signature is good, None where it need not be read. Raises `Refused`."""
        if sent.path.startswith(RESPONSES_PATH):
            return await reading.whole(MAX_ANSWER_BYTES)
        if is_form(sent):
            body = await reading.whole(MAX_UNDECLARED_BYTES)
            claim, policy = claim_of_form(sent, body)
            check_policy(claim, policy, self._secret_of(sent, claim))
            return body
        claim = claim_of(sent)
        _check_scope(sent, claim)
        secret = self._secret_of(sent, claim)
        check_time(claim, datetime.now(UTC))
        check(sent, claim, secret)
        if not body_must_be_read(sent, claim):
            return None
        limit = MAX_UNDECLARED_BYTES if sent.header("x-amz-content-sha256") is None else None
        body = await reading.whole(limit)
        if len(body) < INLINE_BYTES:
            check_body(sent, claim, secret, body)
        else:
            # Not with the engine's threads: functions that wait for their turn hold those.
            loop = asyncio.get_running_loop()
            await loop.run_in_executor(self._hashing, check_body, sent, claim, secret, body)
        return body

    def _secret_of(self, sent: Sent, claim: Claim) -> str:
        if claim.access_key == self._keys.access_key and not claim.token:
            return self._keys.secret_key
        if sent.path == HEALTH:
            raise Refused("AccessDenied", "only the owner of this cloud may ask")
        return self._engine.secret_of(claim.access_key, claim.token)

    def _refused(self, sent: Sent, refusal: Refused) -> Response:
        log.debug("refused with %s", refusal.code)
        if sent.path == HEALTH or sent.path.startswith(API_PATH):
            refusal = _as_gateway_says(refusal)
            return self._engine.refused_by_api(sent.path, refusal) or _as_gateway(refusal)
        headers: dict[str, str] = {}
        for name, value in sent.headers:
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        return self._engine.refused(sent.method, sent.path, sent.query, headers, refusal)


class _Misdirected(Exception):
    """A request that was not meant for this cloud, or that a web page sent."""


def _check_scope(sent: Sent, claim: Claim) -> None:
    """A signature for one service is none for another whose permissions are asked elsewhere."""
    own = OWN_SERVICE if sent.path == HEALTH else "execute-api" if sent.path.startswith(API_PATH) else ""
    if (own or claim.service in ("execute-api", OWN_SERVICE)) and claim.service != own:
        text = f"Credential should be scoped to correct service: '{own or 'of the call'}'."
        raise Refused("SignatureDoesNotMatch", text)


def _as_gateway(refusal: Refused) -> Response:
    """A refusal in API Gateway's words:
    https://docs.aws.amazon.com/apigateway/latest/developerguide/supported-gateway-response-types.html
    """
    codes = {
        "MissingAuthenticationToken": "MissingAuthenticationTokenException",
        "SignatureDoesNotMatch": "InvalidSignatureException",
        "IncompleteSignature": "IncompleteSignatureException",
        "InvalidClientTokenId": "UnrecognizedClientException",
    }
    kind = codes.get(refusal.code, refusal.code)
    headers = {"Content-Type": "application/json", "x-amzn-ErrorType": kind}
    return 403, headers, json.dumps({"message": str(refusal)}).encode()


def _as_gateway_says(refusal: Refused) -> Refused:
    """The same refusal with the words that API Gateway has for it."""
    texts = {
        "MissingAuthenticationToken": "Missing Authentication Token",
        "InvalidClientTokenId": "The security token included in the request is invalid.",
    }
    return Refused(refusal.code, texts.get(refusal.code, str(refusal)), refusal.status)


def _as_another_host_is_asked(scope: Any) -> Any:
    """A presigned request of S3 without the signature for the API that a client sent along.

    On AWS the API redirects to another host, to which no client sends its credentials again; here both have
    one host, and curl and httpx do. The permission is that of the address alone, so a request can get less
    than it asks for, never more.
    """
    if not (scope["method"] in ("GET", "HEAD") and b"X-Amz-Signature=" in scope.get("query_string", b"")):
        return scope
    for_api = any(
        name.lower() == b"authorization" and b"/execute-api/aws4_request" in value
        for name, value in scope["headers"]
    )
    headers = [(name, value) for name, value in scope["headers"] if name.lower() not in OF_A_SIGNATURE]
    return {**scope, "headers": headers} if for_api and not scope["path"].startswith(API_PATH) else scope
