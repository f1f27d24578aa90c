"""The template as CloudFormation gets it, for every test that holds it to something."""

from pathlib import Path
from typing import Any

import pytest
from samtranslator.model.exceptions import InvalidDocumentException
from samtranslator.public.translator import ManagedPolicyLoader
from samtranslator.translator.transform import transform
from samtranslator.yaml_helper import yaml_parse

ROOT = Path(__file__).parents[2]


class NoManagedPolicies(ManagedPolicyLoader):  # type: ignore[misc]
    """Roles are written out; a managed policy would be one too many."""

    def __init__(self) -> None:
        super().__init__(None)

    def load(self) -> dict[str, str]:
        return {}


@pytest.fixture(scope="session")
def rendered() -> dict[str, Any]:
    """The template after the serverless transform, as CloudFormation gets it."""
    source = yaml_parse((ROOT / "template.yaml").read_text())
    source["Globals"]["Function"]["CodeUri"] = "s3://artifacts/functions.zip"
    source["Resources"]["RetrainStateMachine"]["Properties"]["DefinitionUri"] = (
        "s3://artifacts/retrain.asl.yaml"
    )
    try:
        with pytest.MonkeyPatch.context() as patched:
            patched.setenv("AWS_DEFAULT_REGION", "us-east-1")
            made: dict[str, Any] = transform(source, {}, NoManagedPolicies())
    except InvalidDocumentException as error:
        pytest.fail("; ".join(cause.message for cause in error.causes))
    return made
