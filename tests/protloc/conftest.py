import pytest

from protloc.cloud import connection
from tests.conftest import Embedded


@pytest.fixture
def as_stack(embedded: Embedded, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Name the embedded cloud's stack as one in AWS is named: by boto3's own settings."""
    url = embedded.client.client("s3").meta.endpoint_url
    access_key, secret_key = connection.Cloud(0, 0, embedded.home).keys
    settings = {
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": access_key,
        "AWS_SECRET_ACCESS_KEY": secret_key,
        "AWS_REGION": "us-east-1",
        "PROTLOC_HOME": "/nonexistent",
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    return ["--stack", "protloc"]
