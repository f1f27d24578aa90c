"""The page for a team: people sign in with a code and PKCE, and the page asks the API as them and nobody else."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.conftest import Embedded
from tests.page.team import CLIENT, Team, team
from tests.page.test_live import PASTED

pytestmark = pytest.mark.page

KEPT = "JSON.stringify({...sessionStorage, ...localStorage}) + document.cookie"


def sign_in_as_ada(page: Any, here: Team | None = None, **altered: str) -> None:
    """Sign Ada in; the issuer that is `here` takes what the page asked of it for `altered`."""
    page.get_by_role("button", name="Sign in").click()
    link = page.get_by_role("link", name="I am Ada")
    link.wait_for()
    if here is not None:
        for request in here.issuer.codes.values():
            request.update(altered)
    link.click()


@pytest.fixture
def here(embedded: Embedded, monkeypatch: pytest.MonkeyPatch) -> Iterator[Team]:
    with team(embedded, monkeypatch) as made:
        yield made


@pytest.fixture
def open_team(open_page: Callable[..., Any], here: Team) -> Callable[..., Any]:
    """Opens the page, and signs Ada in unless told otherwise."""

    def open_it(place: str = "", sign_in: bool = True, **options: Any) -> Any:
        page = open_page(here.page + place, others=here.others, **options)
        if sign_in:
            sign_in_as_ada(page)
            page.wait_for_selector("button:has-text('Sign out')")
        return page

    return open_it


def test_who_signs_in_sends_a_file_and_sees_its_answers(
    open_team: Callable[..., Any], here: Team, embedded: Embedded
) -> None:
    page = open_team(refusals=True)  # the upload is not there yet when it is first asked for
    assert page.url == here.page, "nothing of the sign-in stays in the address"
    page.get_by_label("or paste sequences").fill(PASTED)
    page.get_by_role("button", name="Look through it").click()
    page.get_by_role("button", name="Predict where they are").click()
    page.wait_for_selector("h1:has-text('2 records: 1 answered')")
    page.get_by_role("button", name="P01308").click()
    assert "confidence of" in page.locator(".protein").inner_text()
    page.get_by_role("button", name="Ask the model").click()
    page.wait_for_selector("text=This marks where the answer")
    with page.expect_download() as download:
        page.get_by_role("button", name="JSON Lines").click()
    text = Path(download.value.path()).read_text(encoding="utf-8")
    assert [json.loads(line)["accession"] for line in text.splitlines()] == ["P01308", "odd"]
    page.get_by_role("button", name="Another file").click()
    page.get_by_role("button", name="pasted.fasta").first.click()
    page.wait_for_selector("h1:has-text('2 records')")


def test_the_code_is_asked_for_with_a_challenge_and_traded_for_a_token_without_a_secret(
    open_team: Callable[..., Any], here: Team
) -> None:
    open_team()
    (first, authorize), (second, token) = here.issuer.asked
    assert (first, second) == ("authorize", "token")
    assert authorize["response_type"] == "code" and authorize["code_challenge_method"] == "S256"
    digest = hashlib.sha256(token["code_verifier"].encode()).digest()
    assert authorize["code_challenge"] == base64.urlsafe_b64encode(digest).decode().rstrip("=")
    assert len(authorize["state"]) >= 43 and len(authorize["nonce"]) >= 43
    assert set(token) == {"grant_type", "client_id", "code", "redirect_uri", "code_verifier"}


def test_before_somebody_signs_in_the_api_is_not_asked_and_the_page_is_accessible(
    open_team: Callable[..., Any], here: Team
) -> None:
    page = open_team("#upload=aaaaaaaaaaaaaaaaaaaaaaaaaa", sign_in=False)
    page.wait_for_selector("button:has-text('Sign in')")
    assert here.gateway.asked == [] and here.issuer.asked == []
    assert page.evaluate(KEPT) == "{}"
    violations = Axe().run(page).response["violations"]
    assert [each["id"] for each in violations] == []


def test_a_token_that_the_issuer_did_not_sign_gives_nothing(
    open_team: Callable[..., Any], here: Team
) -> None:
    here.issuer.signing = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    page = open_team(sign_in=False, refusals=True)
    sign_in_as_ada(page)
    page.wait_for_selector("[role=alert]:has-text('Invalid login token.')")
    assert here.gateway.asked == [] and page.evaluate(KEPT) == "{}"


def test_a_token_that_answers_another_question_is_not_kept(open_team: Callable[..., Any], here: Team) -> None:
    page = open_team(sign_in=False)
    sign_in_as_ada(page, here, nonce="another")
    page.wait_for_selector("[role=alert]:has-text('for another page')")
    assert here.gateway.asked == [] and page.evaluate(KEPT) == "{}"


def test_a_token_for_another_client_gives_nothing(open_team: Callable[..., Any], here: Team) -> None:
    here.issuer.audience = "another"
    page = open_team(sign_in=False, refusals=True)
    sign_in_as_ada(page)
    page.wait_for_selector("[role=alert]:has-text('Invalid login token.')")
    assert here.gateway.asked == []


@pytest.mark.parametrize(
    "query", ["?code=stolen&state=forged", "?state=&code=x", "?error=access_denied&state=x"]
)
def test_a_sign_in_that_this_tab_did_not_begin_is_not_finished(
    open_team: Callable[..., Any], here: Team, query: str
) -> None:
    page = open_team(query, sign_in=False)
    page.wait_for_selector("[role=alert]:has-text('begun elsewhere')")
    assert page.url == here.page and here.issuer.asked == []


def test_a_code_of_another_sign_in_is_not_traded_while_one_of_this_tab_is_under_way(
    open_team: Callable[..., Any], here: Team
) -> None:
    page = open_team(sign_in=False)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("link", name="I am Ada").wait_for()
    page.goto(f"{here.page}?code=stolen&state=forged")
    page.wait_for_selector("[role=alert]:has-text('begun elsewhere')")
    assert [kind for kind, _ in here.issuer.asked] == ["authorize"]


def test_a_code_works_with_the_verifier_of_its_own_tab_alone(
    open_team: Callable[..., Any], here: Team
) -> None:
    page = open_team(sign_in=False, refusals=True)
    sign_in_as_ada(page, here, code_challenge="another")
    page.wait_for_selector("[role=alert]:has-text('was not accepted')")
    assert here.gateway.asked == []


def test_a_tab_that_is_loaded_again_stays_signed_in_and_keeps_the_token_alone(
    open_team: Callable[..., Any], here: Team
) -> None:
    page = open_team()
    page.reload()
    page.wait_for_selector("button:has-text('Sign out')")
    assert len(here.issuer.asked) == 2
    kept = page.evaluate("({...sessionStorage})")
    assert [list(json.loads(value)) for value in kept.values()] == [["token"]]
    assert page.evaluate("localStorage.length") == 0 and page.evaluate("document.cookie") == ""


def test_when_the_token_ends_one_signs_in_again_and_is_where_one_was(
    open_team: Callable[..., Any], here: Team
) -> None:
    here.issuer.lifetime = 30  # less than the page takes for good
    page = open_team("#q=kinase", sign_in=False)
    sign_in_as_ada(page)
    page.wait_for_selector("[role=alert]:has-text('Your sign-in has ended')")
    here.issuer.lifetime = 3_600
    sign_in_as_ada(page)
    page.wait_for_selector("button:has-text('Sign out')")
    assert page.url == f"{here.page}#q=kinase"


def test_who_signs_out_is_forgotten_here_and_by_the_issuer(open_team: Callable[..., Any], here: Team) -> None:
    page = open_team()
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_selector("button:has-text('Sign in')")
    assert page.url == here.page and page.evaluate(KEPT) == "{}"
    (left,) = here.issuer.left
    assert (left["client_id"], left["logout_uri"]) == (CLIENT, here.page)


SIGN = """async ([method, address, body, moment]) => {
  const credentials = {key: "ASIAEXAMPLE", secret: "secret", token: "token+/="}; // pragma: allowlist secret
  const {signed} = await import('/team/signature.js');
  return signed(method, new URL(address), body, credentials, "eu-west-1", new Date(moment));
}"""


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/v1/uploads?size=50", ""),
        ("GET", "/v1/uploads/abc/results?format=tsv&redirect=false", ""),
        ("POST", "/v1/uploads", '{"name": "größe (1)\'s*.fasta"}'),
        ("GET", "/v1/uploads/a%20b%2Fc!'()*~/predictions?z=1&a=%C3%A4%20b&a=A", ""),
        ("GET", "/v1/submissions/2026-11-26-0a1b2c3d4e5f", ""),
    ],
)
def test_requests_are_signed_as_botocore_signs_them(
    open_page: Callable[..., Any],
    modules: str,
    method: str,
    path: str,
    body: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    page = open_page(modules)
    moment = datetime(2026, 11, 26, 1, 2, 3, 456000, UTC)
    address = f"https://api.execute-api.eu-west-1.amazonaws.com{path}"
    headers = page.evaluate(SIGN, [method, address, body, moment.isoformat()])
    monkeypatch.setattr("botocore.auth.get_current_datetime", lambda: moment.replace(tzinfo=None))
    request = AWSRequest(method, address, data=body.encode())
    secret = Credentials("ASIAEXAMPLE", "secret", "token+/=")
    SigV4Auth(secret, "execute-api", "eu-west-1").add_auth(request)
    expected = {name.lower(): value for name, value in request.headers.items()}
    assert headers == expected
