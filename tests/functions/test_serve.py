"""The page for a team, as its function answers it: one document, what it may ask, and an issuer that is away."""

import html
import io
import json
import re
import urllib.request
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import boto3
import pytest

import functions.serve
from functions.page.document import document
from functions.serve import DISCOVERY, IssuerAway, SignIn, discover, make_page
from functions.services import LINKING
from functions.services.s3 import Storage
from tests.functions.test_events import Context, golden

ISSUER = "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_AbCdEfGhI"
DOMAIN = "https://protloc-0a1b2c3d4e5f.auth.eu-west-1.amazoncognito.com"
IDENTITIES = "https://cognito-identity.eu-west-1.amazonaws.com"
POOL = "eu-west-1:0a1b2c3d-0000-4000-8000-000000000000"
VARIABLES = {"Issuer": ISSUER, "Client": "1client2", "IdentityPool": POOL, "Identities": IDENTITIES}
FOUND = {
    "issuer": ISSUER,
    "authorization_endpoint": f"{DOMAIN}/oauth2/authorize",
    "token_endpoint": f"{DOMAIN}/oauth2/token",
    "end_session_endpoint": f"{DOMAIN}/logout",
    "jwks_uri": f"{ISSUER}/.well-known/jwks.json",
}


class TheIssuer:
    """The web, in which there is an issuer alone."""

    def __init__(self) -> None:
        self.says: Any = dict(FOUND)
        self.asked: list[str] = []

    def __call__(self, address: str, timeout: float) -> io.BytesIO:
        self.asked.append(address)
        assert timeout < 29
        if isinstance(self.says, Exception):
            raise self.says
        return io.BytesIO(self.says if isinstance(self.says, bytes) else json.dumps(self.says).encode())


@pytest.fixture
def issuer(monkeypatch: pytest.MonkeyPatch) -> Iterator[TheIssuer]:
    keys = {"aws_access_key_id": "any", "aws_secret_access_key": "any"}  # pragma: allowlist secret
    s3 = boto3.client("s3", region_name="eu-west-1", config=LINKING, **keys)
    linking = SimpleNamespace(
        s3=s3, storage=Storage(s3, "results"), settings=SimpleNamespace(uploads_bucket="uploads")
    )
    monkeypatch.setattr(functions.serve, "services", lambda: linking)
    made = TheIssuer()
    monkeypatch.setattr(urllib.request, "urlopen", made)
    make_page.cache_clear()
    yield made
    make_page.cache_clear()


def ask(headers: dict[str, str] | None = None, **variables: str) -> dict[str, Any]:
    event = golden("api-get-upload") | {
        "path": "/page",
        "pathParameters": None,
        "headers": headers,
        "stageVariables": VARIABLES | variables,
    }
    answer: dict[str, Any] = functions.serve.handler(event, Context())
    return answer


def directives(policy: str) -> dict[str, list[str]]:
    return {name: values for name, *values in (part.split() for part in policy.split(";"))}


def test_the_page_comes_as_html_that_no_other_page_may_frame_and_no_browser_guesses_about(
    issuer: TheIssuer,
) -> None:
    answer = ask()
    headers = answer["headers"]
    assert answer["statusCode"] == 200 and headers["Content-Type"] == "text/html; charset=utf-8"
    assert answer["body"].startswith("<!doctype html>") and 'data-home="team"' in answer["body"]
    assert headers["X-Content-Type-Options"] == "nosniff" and headers["Referrer-Policy"] == "no-referrer"
    assert "max-age" in headers["Strict-Transport-Security"]
    assert not [name for name in headers if name.lower().startswith("access-control")]


def test_the_policy_names_each_address_that_the_page_asks_and_no_other(issuer: TheIssuer) -> None:
    answer = ask()
    policy = directives(answer["headers"]["Content-Security-Policy"])
    asked = [
        DOMAIN,
        IDENTITIES,
        "https://uploads.s3.eu-west-1.amazonaws.com",
        "https://results.s3.eu-west-1.amazonaws.com",
    ]
    assert policy.pop("connect-src") == ["'self'", *asked] and policy.pop("frame-ancestors") == ["'none'"]
    alone = directives(document(live=True).policy)
    assert alone.pop("connect-src") == ["'self'"] and policy == alone
    (meta,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', answer["body"])
    assert f"{html.unescape(meta)}; frame-ancestors 'none'" == answer["headers"]["Content-Security-Policy"]


def test_the_page_knows_how_people_sign_in_and_nothing_else(issuer: TheIssuer) -> None:
    (data,) = re.findall(r'json" id="data">(.*?)</script>', ask()["body"], re.DOTALL)
    assert json.loads(data) == {
        "issuer": ISSUER,
        "client": "1client2",
        "authorize": FOUND["authorization_endpoint"],
        "token": FOUND["token_endpoint"],
        "leave": FOUND["end_session_endpoint"],
        "identities": IDENTITIES,
        "identityPool": POOL,
        "region": "eu-west-1",
    }


def test_who_has_the_page_is_told_so(issuer: TheIssuer) -> None:
    tag = ask()["headers"]["ETag"]
    for headers in ({"If-None-Match": tag}, {"if-none-match": f'"x", {tag}'}):
        again = ask(headers)
        assert (again["statusCode"], again["body"], again["headers"]["ETag"]) == (304, "", tag)
        assert again["headers"]["Cache-Control"] == "no-cache"
    assert ask({"If-None-Match": '"x"'})["statusCode"] == 200
    assert ask(Client="another")["headers"]["ETag"] != tag


def test_the_issuer_is_asked_once_and_again_only_after_it_was_away(issuer: TheIssuer) -> None:
    issuer.says = OSError("timed out")
    away = ask()
    assert away["statusCode"] == 502 and away["headers"]["Retry-After"]
    assert json.loads(away["body"])["status"] == 502
    issuer.says = dict(FOUND)
    assert [ask()["statusCode"] for _ in range(3)] == [200, 200, 200]
    assert issuer.asked == [ISSUER + DISCOVERY] * 2


@pytest.mark.parametrize(
    "says",
    [
        b"<html>",
        b"[]",
        b"\xff",
        FOUND | {"issuer": "https://example.org"},
        FOUND | {"token_endpoint": None},
        FOUND | {"authorization_endpoint": "javascript:alert(1)"},
        FOUND | {"token_endpoint": "http://example.org/token"},
        FOUND | {"token_endpoint": "https://example.org;script-src 'unsafe-inline'/token"},
        FOUND | {"token_endpoint": "https://*/token"},
        FOUND | {"token_endpoint": 'https://example.org"><script>/token'},
        FOUND | {"end_session_endpoint": "data:text/html,x"},
        FOUND | {"token_endpoint": ["https://example.org"]},
    ],
)
def test_an_issuer_that_says_what_it_should_not_makes_no_page(issuer: TheIssuer, says: Any) -> None:
    issuer.says = says
    assert ask()["statusCode"] == 502


def test_an_issuer_need_not_say_how_one_leaves_it(issuer: TheIssuer) -> None:
    del issuer.says["end_session_endpoint"]
    assert ask()["statusCode"] == 200


def test_a_slash_at_the_end_of_an_issuer_is_its_own(issuer: TheIssuer) -> None:
    """OpenID Connect Discovery 1.0, 4.1 and 4.3: it is left out before the path, and compared with it."""
    issuer.says = FOUND | {"issuer": f"{ISSUER}/"}
    assert discover(f"{ISSUER}/") and issuer.asked == [ISSUER + DISCOVERY]
    with pytest.raises(IssuerAway):
        discover(ISSUER)


def test_nothing_in_the_settings_ends_the_script_that_holds_them(issuer: TheIssuer) -> None:
    plain, hostile = (
        make_page(SignIn(ISSUER, client, POOL, IDENTITIES)).body
        for client in ("1client2", "</script><script>alert(1)</script>")
    )
    assert "alert(1)" in hostile
    assert [hostile.count(tag) for tag in ("<script", "</script")] == [
        plain.count(tag) for tag in ("<script", "</script")
    ]
