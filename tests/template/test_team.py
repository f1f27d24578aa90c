"""The page for a team in the template: off by default, and open to nobody who has not signed in."""

import time
from typing import Any

import pytest

from tests.template.rendering import VARIANTS, render
from tests.template.resolved import ACCOUNT, REGION, Resolved
from tests.template.test_template import resources, statements

Template = dict[str, Any]

OWN = {"ServesTeam", "TeamHasIssuer", "TeamHasUserPool"}
ROUTES = ["GET/uploads", "GET/uploads/*", "POST/uploads", "GET/submissions/*"]


def test_nothing_of_it_is_made_where_it_is_off(rendered: Template) -> None:
    parameters = rendered["Parameters"]
    assert [parameters[name]["Default"] for name in ("TeamPage", "TeamIssuer", "TeamClientId")] == [
        "false",
        "",
        "",
    ]
    of_it = {name for name, each in rendered["Resources"].items() if name.startswith(("Team", "Serve"))}
    conditional = {name for name, each in rendered["Resources"].items() if each.get("Condition") in OWN}
    assert of_it == conditional and len(of_it) == 13
    assert not [
        kind
        for kind in ("UserPool", "IdentityPool")
        if list(Resolved(rendered, met=False).resources(f"AWS::Cognito::{kind}"))
    ]
    off = Resolved(rendered, met=False)
    for _, bucket in off.resources("AWS::S3::Bucket"):
        assert "CorsConfiguration" not in bucket
    ((_, api),), ((_, stage),) = (
        off.resources("AWS::ApiGateway::RestApi"),
        off.resources("AWS::ApiGateway::Stage"),
    )
    assert "/page" not in api["Body"]["paths"] and "Variables" not in stage
    assert not [each for each in stage["MethodSettings"] if "page" in each["ResourcePath"]]


def test_turning_it_on_deploys_its_route_though_the_template_is_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The transform makes a deployment anew where the definition of the API is another one, not its parameters.

    https://docs.aws.amazon.com/serverless-application-model/latest/developerguide/sam-resource-api.html (AlwaysDeploy)
    """
    deployments = []
    for moment in (1_700_000_000, 1_700_000_060):
        monkeypatch.setattr(time, "time", lambda moment=moment: moment)
        deployments += dict(resources(render(), "AWS::ApiGateway::Deployment"))
    assert len(set(deployments)) == 2


def test_who_signed_in_may_call_the_routes_of_the_page_and_no_other(rendered: Template) -> None:
    granted = [
        (action, resource)
        for role, statement in statements(Resolved(rendered)._template)
        if role == "TeamRole"
        for action in [statement["Action"]]
        for resource in Resolved(rendered)(statement["Resource"])
    ]
    begins = f"arn:aws:execute-api:{REGION}:{ACCOUNT}:protloc-api/v1/"
    assert granted == [("execute-api:Invoke", begins + route) for route in ROUTES]


def test_the_role_is_for_who_signed_in_at_the_stacks_own_identity_pool(rendered: Template) -> None:
    """As of docs.aws.amazon.com/cognito/latest/developerguide/role-trust-and-permissions.html."""
    role = rendered["Resources"]["TeamRole"]["Properties"]
    (statement,) = role["AssumeRolePolicyDocument"]["Statement"]
    assert statement["Principal"] == {"Federated": "cognito-identity.amazonaws.com"}
    assert statement["Condition"] == {
        "StringEquals": {"cognito-identity.amazonaws.com:aud": {"Ref": "TeamIdentityPool"}},
        "ForAnyValue:StringLike": {"cognito-identity.amazonaws.com:amr": "authenticated"},
    }
    ((_, pool),) = resources(rendered, "AWS::Cognito::IdentityPool")
    assert pool["AllowUnauthenticatedIdentities"] is False and pool["AllowClassicFlow"] is False
    ((_, roles),) = resources(rendered, "AWS::Cognito::IdentityPoolRoleAttachment")
    assert set(roles["Roles"]) == {"authenticated"}


def test_people_sign_in_by_a_code_without_a_secret_and_sign_nobody_up(rendered: Template) -> None:
    ((_, client),) = resources(rendered, "AWS::Cognito::UserPoolClient")
    assert (client["GenerateSecret"], client["AllowedOAuthFlows"]) == (False, ["code"])
    assert client["ExplicitAuthFlows"] == ["ALLOW_REFRESH_TOKEN_AUTH"], (
        "no password but at Cognito's own page"
    )
    (callback,) = client["CallbackURLs"]
    assert callback == rendered["Outputs"]["TeamPageUrl"]["Value"]
    assert Resolved(rendered)(callback) == f"https://protloc-api.execute-api.{REGION}.amazonaws.com/v1/page"
    ((_, pool),) = resources(rendered, "AWS::Cognito::UserPool")
    assert pool["AdminCreateUserConfig"] == {"AllowAdminCreateUserOnly": True}


def test_a_domain_holds_no_word_that_cognito_keeps(rendered: Template) -> None:
    """A stack's name may: https://docs.aws.amazon.com/cognito/latest/developerguide/cognito-user-pools-assign-domain-prefix.html"""
    ((_, domain),) = resources(rendered, "AWS::Cognito::UserPoolDomain")
    assert Resolved(rendered)(domain["Domain"]) == "protloc-0a1b2c3d4e5f"


def test_a_browser_may_send_forms_and_read_results_and_nothing_else_of_a_bucket(rendered: Template) -> None:
    stack = Resolved(rendered)
    rules = {
        name: bucket.get("CorsConfiguration", {}).get("CorsRules", [])
        for name, bucket in stack.resources("AWS::S3::Bucket")
    }
    assert {name: [rule["AllowedMethods"] for rule in each] for name, each in rules.items()} == {
        "UploadsBucket": [["POST"]],
        "ResultsBucket": [["GET"]],
        "ModelsBucket": [],
    }
    for (rule,) in (each for each in rules.values() if each):
        assert rule["AllowedOrigins"] == [f"https://*.execute-api.{REGION}.amazonaws.com"]
        assert "AllowedHeaders" not in rule


@pytest.mark.parametrize("variant", ["everything", "issuer"])
def test_the_stage_says_how_people_sign_in(variant: str) -> None:
    template = render(**VARIANTS[variant])
    ((_, stage),) = resources(template, "AWS::ApiGateway::Stage")
    assert set(stage["Variables"]["Fn::If"][1]) == {"Issuer", "Client", "IdentityPool", "Identities"}
