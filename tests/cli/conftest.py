import pytest

from tests.conftest import Embedded


@pytest.fixture
def as_stack(embedded: Embedded, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What names the embedded cloud's stack the way one in AWS is named: by boto3's own settings."""
    url = embedded.client.client("s3").meta.endpoint_url
    settings = {
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "us-east-1",
        "PROTLOC_HOME": "/nonexistent",
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    return ["--stack", "protloc"]
