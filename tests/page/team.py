"""The surroundings of the page for a team, on this machine: an issuer, Cognito's identity pool, S3 and API Gateway.

The issuer signs real tokens (RS256), the identity pool verifies them by the issuer's keys and gives keys
for AWS, and the gateway lets in what these have signed and `TeamRole` of the template grants. Behind both is
an embedded cloud, which no browser may ask itself.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from functools import cache
from http.client import HTTPConnection, HTTPMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from types import SimpleNamespace
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlencode, urlsplit
from urllib.request import urlopen

import boto3
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

import functions.serve
from functions.services import LINKING
from functions.services.s3 import Storage
from protloc.cloud.gate.claims import Refused, Sent, claim_of
from protloc.cloud.gate.signatures import check, check_body, check_time
from tests.conftest import Embedded
from tests.functions.test_events import Context, golden
from tests.template.rendering import render

CLIENT = "page-of-a-team"
POOL = "us-east-1:0a1b2c3d-0000-4000-8000-000000000000"
PAGE = "/v1/page"


class Request(NamedTuple):
    method: str
    path: str
    query: str
    headers: HTTPMessage
    body: bytes


class Answer(NamedTuple):
    status: int
    body: bytes = b""
    headers: dict[str, str] = {}  # noqa: RUF012 - never written to


@contextmanager
def served(act: Callable[[Request], Answer]) -> Iterator[str]:
    """Within, requests to the address are answered by a function."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *arguments: Any) -> None:
            pass

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            answer = act(Request(self.command, parts.path, parts.query, self.headers, body))
            self.send_response(answer.status)
            for name, value in (answer.headers | {"Content-Length": str(len(answer.body))}).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer.body)

        do_POST = do_OPTIONS = do_GET  # noqa: N815

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def encoded(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


class Issuer:
    """An OpenID Connect issuer with one public client, whose page has a link by which Ada signs in."""

    def __init__(self) -> None:
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.signing = self.key  # with another than it publishes, it is an impostor
        self.address = ""
        self.redirects: set[str] = set()
        self.lifetime = 3_600
        self.audience = CLIENT
        self.codes: dict[str, dict[str, str]] = {}
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.left: list[dict[str, str]] = []

    def act(self, request: Request) -> Answer:
        form = dict(parse_qsl(request.query if request.method == "GET" else request.body.decode()))
        match request.path:
            case "/.well-known/openid-configuration":
                return as_json(self.discovery())
            case "/keys":
                numbers = self.key.public_key().public_numbers()
                shown = {
                    "kty": "RSA",
                    "kid": "1",
                    "n": encoded(numbers.n.to_bytes(256)),
                    "e": encoded(b"\1\0\1"),
                }
                return as_json({"keys": [shown]})
            case "/authorize":
                return self.authorize(form)
            case "/token":
                self.asked.append(("token", form))
                return self.token(form)._replace(
                    headers={
                        "Content-Type": "application/json",
                        "Access-Control-Allow-Origin": request.headers["Origin"],
                    }
                )
            case "/leave":
                self.left.append(form)
                return Answer(303, headers={"Location": form["post_logout_redirect_uri"]})
        return Answer(404)

    def discovery(self) -> dict[str, Any]:
        return {
            "issuer": self.address,
            "authorization_endpoint": f"{self.address}/authorize",
            "token_endpoint": f"{self.address}/token",
            "end_session_endpoint": f"{self.address}/leave",
            "jwks_uri": f"{self.address}/keys",
        }

    def authorize(self, form: dict[str, str]) -> Answer:
        self.asked.append(("authorize", form))
        assert form["client_id"] == CLIENT and form["redirect_uri"] in self.redirects
        assert (form["response_type"], form["code_challenge_method"]) == ("code", "S256")
        assert "openid" in form["scope"].split()
        code = secrets.token_urlsafe(16)
        self.codes[code] = form
        back = f"{form['redirect_uri']}?{urlencode({'code': code, 'state': form['state']})}"
        text = (
            f"<!doctype html><link rel=icon href='data:,'><a href='{back.replace('&', '&amp;')}'>I am Ada</a>"
        )
        return Answer(200, text.encode(), {"Content-Type": "text/html"})

    def token(self, form: dict[str, str]) -> Answer:
        begun = self.codes.pop(form.get("code", ""), None)  # which works once
        verifier = form.get("code_verifier", "")
        challenge = encoded(hashlib.sha256(verifier.encode()).digest())
        good = (
            begun is not None
            and form["grant_type"] == "authorization_code"
            and form["client_id"] == CLIENT
            and form["redirect_uri"] == begun["redirect_uri"]
            and 43 <= len(verifier) <= 128
            and begun["code_challenge"] == challenge
            and "client_secret" not in form
        )
        if not good or begun is None:
            return Answer(400, b'{"error": "invalid_grant"}')
        now = int(time.time())
        claims = {
            "iss": self.address,
            "sub": "ada",
            "aud": self.audience,
            "iat": now,
            "exp": now + self.lifetime,
        }
        return Answer(200, json.dumps({"id_token": self.signed(claims | {"nonce": begun["nonce"]})}).encode())

    def signed(self, claims: dict[str, Any]) -> str:
        head = {"alg": "RS256", "kid": "1", "typ": "JWT"}
        text = ".".join(encoded(json.dumps(part).encode()) for part in (head, claims))
        return f"{text}.{encoded(self.signing.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256()))}"


class Identities:
    """Cognito's identity pool, as far as the page asks it: keys for a token that the issuer signed for the client."""

    def __init__(self, issuer: Issuer) -> None:
        self.issuer = issuer
        self.secrets: dict[str, tuple[str, str]] = {}  # secret and token by key

    def act(self, request: Request) -> Answer:
        headers = {"Access-Control-Allow-Origin": "*", "Content-Type": "application/x-amz-json-1.1"}
        if request.method == "OPTIONS":
            allowed = request.headers["Access-Control-Request-Headers"]
            return Answer(204, headers=headers | {"Access-Control-Allow-Headers": allowed})
        asked = json.loads(request.body)
        if not self.verified(asked["Logins"]):
            refusal = {"__type": "NotAuthorizedException", "message": "Invalid login token."}
            return Answer(400, json.dumps(refusal).encode(), headers)
        action = request.headers["X-Amz-Target"].removeprefix("AWSCognitoIdentityService.")
        return Answer(200, json.dumps({"GetId": self.identity, "GetCredentialsForIdentity": self.credentials}[action](asked)).encode(), headers)  # fmt: skip

    def identity(self, asked: dict[str, Any]) -> dict[str, Any]:
        assert asked["IdentityPoolId"] == POOL
        return {"IdentityId": f"{POOL}-ada"}

    def credentials(self, asked: dict[str, Any]) -> dict[str, Any]:
        assert asked["IdentityId"] == f"{POOL}-ada"
        key, secret, token = (
            "ASIA" + secrets.token_hex(8).upper(),
            secrets.token_hex(20),
            secrets.token_hex(64),
        )
        self.secrets[key] = secret, token
        shown = {"AccessKeyId": key, "SecretKey": secret, "SessionToken": token}
        return {"IdentityId": asked["IdentityId"], "Credentials": shown | {"Expiration": time.time() + 3_600}}

    def verified(self, logins: dict[str, str]) -> bool:
        """True for a token of the issuer: by its published key, for the client, and in its time."""
        (token,) = logins.values()
        assert list(logins) == [self.issuer.address]  # https:// would be left out
        head, claims, signature = token.split(".")
        with urlopen(f"{self.issuer.address}/keys") as published:
            (key,) = json.loads(published.read())["keys"]
        numbers = rsa.RSAPublicNumbers(int.from_bytes(decoded(key["e"])), int.from_bytes(decoded(key["n"])))
        try:
            numbers.public_key().verify(
                decoded(signature), f"{head}.{claims}".encode(), padding.PKCS1v15(), hashes.SHA256()
            )
        except InvalidSignature:
            return False
        payload = json.loads(decoded(claims))
        is_of_here = (payload["iss"], payload["aud"]) == (self.issuer.address, CLIENT)
        return is_of_here and payload["exp"] > time.time() and json.loads(decoded(head))["alg"] == "RS256"


@cache
def template() -> dict[str, Any]:
    return render(TeamPage="true")


def granted(method: str, path: str) -> bool:
    """True if `TeamRole` may call a route of the API."""
    (policy,) = template()["Resources"]["TeamRole"]["Properties"]["Policies"]
    patterns = [
        resource["Fn::Sub"].partition("${Api}/v1/")[2]
        for statement in policy["PolicyDocument"]["Statement"]
        for resource in statement["Resource"]
    ]
    return any(fnmatchcase(f"{method}{path}", pattern) for pattern in patterns)


class Bucket:
    """S3 as a browser of another origin sees it, by the template's CORS rules, in front of the embedded cloud's."""

    def __init__(self, embedded: Embedded) -> None:
        outputs = embedded.client.outputs
        self.behind = urlsplit(embedded.client.client("s3").meta.endpoint_url).netloc
        self.allowed = {
            outputs[name]: template()["Resources"][name]["Properties"]["CorsConfiguration"]["Fn::If"][1]["CorsRules"][0]["AllowedMethods"]
            for name in ("UploadsBucket", "ResultsBucket")
        }  # fmt: skip

    def act(self, request: Request) -> Answer:
        method = request.headers.get("Access-Control-Request-Method", request.method)
        origin = request.headers["Origin"]
        no_other_headers = not request.headers.get("Access-Control-Request-Headers")
        if method not in self.allowed[request.path.split("/")[1]] or not no_other_headers:
            return Answer(403)
        cors = {"Access-Control-Allow-Origin": origin, "Access-Control-Allow-Methods": method}
        if request.method == "OPTIONS":
            return Answer(200, headers=cors)
        assert "Authorization" not in request.headers and "x-amz-date" not in request.headers
        connection = HTTPConnection(self.behind)
        kept = {"Host": self.behind} | {
            name: value for name in ("Content-Type",) if (value := request.headers.get(name))
        }
        address = f"{request.path}?{request.query}" if request.query else request.path
        connection.request(request.method, address, request.body or None, kept)
        answer = connection.getresponse()
        content_type = answer.headers.get("Content-Type", "application/octet-stream")
        return Answer(answer.status, answer.read(), cors | {"Content-Type": content_type})


class Gateway:
    """API Gateway in front of the embedded cloud's API: the page for anybody, the rest for who may by `TeamRole`."""

    def __init__(
        self, embedded: Embedded, identities: Identities, bucket: str, variables: dict[str, str]
    ) -> None:
        self.api, self.identities, self.bucket, self.variables = (
            embedded.client.api,
            identities,
            bucket,
            variables,
        )
        self.behind = embedded.client.client("s3").meta.endpoint_url
        self.asked: list[tuple[str, str]] = []

    def act(self, request: Request) -> Answer:
        if (request.method, request.path) == ("GET", PAGE):
            event = golden("api-get-upload") | {
                "stageVariables": self.variables,
                "headers": dict(request.headers),
            }
            answer = functions.serve.handler(event, Context())
            return Answer(answer["statusCode"], answer["body"].encode(), answer["headers"])
        path = request.path.removeprefix("/v1")
        self.asked.append((request.method, path))
        try:
            self.require_signature(request)
        except Refused as refused:
            return as_json({"detail": str(refused)}, 403)
        if not granted(request.method, path):
            return as_json({"detail": "User is not authorized to perform: execute-api:Invoke"}, 403)
        below = f"{path}?{request.query}" if request.query else path
        status, view, _ = self.api.ask(
            request.method, below, json.loads(request.body) if request.body else None
        )
        return as_json(json.loads(json.dumps(view).replace(self.behind, self.bucket)), status)

    def require_signature(self, request: Request) -> None:
        """Raise Refused unless the request is signed, for this service, with a key of the identity pool."""
        headers = [(name.lower(), value) for name, value in request.headers.items()]
        sent = Sent(request.method, request.path, request.query, headers)
        claim = claim_of(sent)
        secret, token = self.identities.secrets[claim.access_key]
        assert (claim.service, claim.region, claim.token) == ("execute-api", "us-east-1", token)
        assert {"host", "x-amz-date", "x-amz-security-token"} <= set(claim.signed_headers.split(";"))
        check_time(claim, datetime.now(UTC))
        check(sent, claim, secret)
        check_body(sent, claim, secret, request.body)


class Team(NamedTuple):
    """All of it, with the address of the page."""

    page: str
    issuer: Issuer
    gateway: Gateway
    others: tuple[str, ...]
    """The origins that the page may ask besides its own, and the issuer's."""


@contextmanager
def team(embedded: Embedded, monkeypatch: pytest.MonkeyPatch) -> Iterator[Team]:
    """Within, the page is served to a team."""
    issuer = Issuer()
    identities = Identities(issuer)
    with ExitStack() as stack:
        issuer.address = stack.enter_context(served(issuer.act))
        pool = stack.enter_context(served(identities.act))
        bucket = stack.enter_context(served(Bucket(embedded).act))
        outputs = embedded.client.outputs
        keys = {"aws_access_key_id": "any", "aws_secret_access_key": "any"}  # pragma: allowlist secret
        s3 = boto3.client("s3", region_name="us-east-1", endpoint_url=bucket, config=LINKING, **keys)
        linking = SimpleNamespace(
            s3=s3,
            storage=Storage(s3, outputs["ResultsBucket"]),
            settings=SimpleNamespace(uploads_bucket=outputs["UploadsBucket"]),
        )
        monkeypatch.setattr(functions.serve, "services", lambda: linking)
        variables = {"Issuer": issuer.address, "Client": CLIENT, "IdentityPool": POOL, "Identities": pool}
        gateway = Gateway(embedded, identities, bucket, variables)
        address = stack.enter_context(served(gateway.act))
        issuer.redirects.add(f"{address}{PAGE}")
        yield Team(f"{address}{PAGE}", issuer, gateway, (issuer.address, pool, bucket, address))


def as_json(value: Any, status: int = 200) -> Answer:
    return Answer(status, json.dumps(value).encode(), {"Content-Type": "application/json"})
