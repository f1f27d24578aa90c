"""serve: the page for a team, one document that signs people in and then asks this API as them.

In: `GET /page` of the API, which anybody may ask: the page holds no data. Out: the page, with what it needs
to sign people in, out of the stage's variables and out of what the issuer says of itself, and a policy by
which it may ask the API, the issuer, Cognito and the stack's two buckets, and nobody else.

The issuer is asked here, once a process, and not by the browser, so that the policy can name the one address
where a code becomes a token (OpenID Connect Discovery 1.0, 4).
"""

import json
import re
import urllib.request
from functools import cache
from http import HTTPStatus
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from functions.domain.errors import ProtlocError
from functions.http import entity_tag, if_none_match, is_known, problem
from functions.page.data import dumps
from functions.page.document import document
from functions.services import services

logger = Logger()

DISCOVERY = "/.well-known/openid-configuration"
ISSUER_SECONDS = 5
MAX_DISCOVERY_BYTES = 100_000
RETRY_SECONDS = 10
ORIGIN = re.compile(r"https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?")

HEADERS = {
    "Content-Type": "text/html; charset=utf-8",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Strict-Transport-Security": "max-age=31536000",
    "Cache-Control": "no-cache",  # asked for again each time, and answered with 304 where it is the same
}


class IssuerAway(ProtlocError):
    """The issuer does not say where people sign in."""


class SignIn(NamedTuple):
    """How people sign in: the variables of the API's stage."""

    issuer: str
    client: str
    identity_pool: str
    identities: str  # the URL of Amazon Cognito's identity pools in this region


class Page(NamedTuple):
    """The document, and the headers that it comes with."""

    body: str
    headers: dict[str, str]


@logger.inject_lambda_context
def handler(event: dict[str, Any], _context: LambdaContext) -> dict[str, Any]:
    variables = event["stageVariables"]
    names = ("Issuer", "Client", "IdentityPool", "Identities")
    try:
        page = make_page(SignIn(*(variables[name] for name in names)))
    except IssuerAway as error:
        logger.error("no page", extra={"why": str(error)})
        detail = "The page is not there at the moment: its sign-in is not."
        return problem(HTTPStatus.BAD_GATEWAY, detail, {"Retry-After": str(RETRY_SECONDS)})
    if is_known(page.headers["ETag"], if_none_match(event)):
        return {"statusCode": HTTPStatus.NOT_MODIFIED.value, "headers": page.headers, "body": ""}
    return {"statusCode": HTTPStatus.OK.value, "headers": page.headers, "body": page.body}


@cache
def make_page(sign_in: SignIn) -> Page:
    """Make the page for a way to sign in, once a process. Raises IssuerAway."""
    endpoints = discover(sign_in.issuer)
    aws = services()
    form = aws.s3.generate_presigned_post(Bucket=aws.settings.uploads_bucket, Key="any")
    asked = [endpoints["token_endpoint"], sign_in.identities, form["url"], aws.storage.link("any", 1)]
    page = document(live=True, team=tuple(dict.fromkeys(map(origin, asked))))
    settings = {
        "issuer": sign_in.issuer,
        "client": sign_in.client,
        "authorize": endpoints["authorization_endpoint"],
        "token": endpoints["token_endpoint"],
        "leave": endpoints.get("end_session_endpoint"),
        "identities": sign_in.identities,
        "identityPool": sign_in.identity_pool,
        "region": sign_in.identity_pool.partition(":")[0],
    }
    body = (page.before + dumps(settings) + page.after).decode()
    policy = f"{page.policy}; frame-ancestors 'none'"
    return Page(body, HEADERS | {"Content-Security-Policy": policy, "ETag": entity_tag(body)})


def discover(issuer: str) -> dict[str, str]:
    """The endpoints of an issuer by what it says of itself. Raises IssuerAway."""
    address = issuer.removesuffix("/") + DISCOVERY
    try:
        # The address is a parameter of the stack, which takes https alone.
        with urllib.request.urlopen(address, timeout=ISSUER_SECONDS) as answer:  # nosec B310
            configuration = json.loads(answer.read(MAX_DISCOVERY_BYTES))
    except (OSError, ValueError) as error:
        raise IssuerAway(f"{address} does not answer: {error}") from None
    if not isinstance(configuration, dict) or configuration.get("issuer") != issuer:
        raise IssuerAway(f"{address} is not about {issuer}")
    scheme = urlsplit(issuer).scheme
    endpoints: dict[str, str] = {}
    for name in ("authorization_endpoint", "token_endpoint", "end_session_endpoint"):
        value = configuration.get(name)
        if value is None and name.startswith("end"):
            continue  # a part of another specification
        if not isinstance(value, str) or urlsplit(value).scheme != scheme:
            raise IssuerAway(f"{address} names no {name}")
        endpoints[name] = value
    return endpoints


def origin(address: str) -> str:
    """The origin of an address, as a policy names it. Raises IssuerAway where that is none.

    >>> origin("https://uploads.s3.eu-west-1.amazonaws.com/any?X-Amz-Expires=1")
    'https://uploads.s3.eu-west-1.amazonaws.com'
    """
    parts = urlsplit(address)
    result = f"{parts.scheme}://{parts.netloc}"
    if not ORIGIN.fullmatch(result):
        raise IssuerAway(f"{address!r:.100} is no address that a page may ask")
    return result
