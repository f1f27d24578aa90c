"""The template as CloudFormation gets it, for every test that holds it to something."""

from typing import Any

import pytest

from tests.template.rendering import render


@pytest.fixture(scope="session")
def rendered() -> dict[str, Any]:
    """The template after the serverless transform, as CloudFormation gets it."""
    return render()
