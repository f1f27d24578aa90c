"""Nobody gets into a running cloud without its key: real clients pass, strangers and web pages do not."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import os
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote

import boto3
import botocore.auth
import botocore.awsrequest
import psutil
import pytest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import ClientError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from protloc.cloud import connection
from protloc.cloud.connection import Cloud
from protloc.cloud.contracts.front_door import SERVED
from tests.cloud.conftest import Stack
from tests.cloud.sagemaker.models import artifact
from tests.cloud.sagemaker.test_sagemaker import put, serving
from tests.waiting import Gate, until

# A call of each service that the project uses, which only looks.
LOOKING = {
    "apigateway": "get_rest_apis", "application-autoscaling": "describe_scalable_targets",
    "cloudformation": "list_stacks", "cloudwatch": "describe_alarms", "dynamodb": "list_tables",
    "dynamodbstreams": "list_streams", "events": "list_rules", "iam": "list_roles", "lambda": "list_functions",
    "logs": "describe_log_groups", "s3": "list_buckets", "sagemaker": "list_models",
    "sagemaker-runtime": "invoke_endpoint", "scheduler": "list_schedules", "secretsmanager": "list_secrets",  # pragma: allowlist secret
   
    "sns": "list_topics", "sqs": "list_queues", "stepfunctions": "list_state_machines",
    "sts": "get_caller_identity",
}  # fmt: skip
PARAMETERS = {
    "application-autoscaling": {"ServiceNamespace": "sagemaker"},
    "sagemaker-runtime": {"EndpointName": "none", "Body": b"{}"},
}
# How each protocol says that nobody has this key, or that the signature is wrong.
UNKNOWN = {"InvalidAccessKeyId", "InvalidClientTokenId", "UnrecognizedClientException"}
MISMATCH = {"SignatureDoesNotMatch", "InvalidSignatureException"}


def client(cloud: Cloud, service: str, *keys: str) -> Any:
    config = Config(retries={"total_max_attempts": 1})
    session = boto3.Session(*keys, region_name="us-east-1")
    return session.client(service, endpoint_url=cloud.endpoint_url, config=config)  # type: ignore[call-overload]


def code_of(cloud: Cloud, service: str, *keys: str) -> str:
    try:
        getattr(client(cloud, service, *keys), LOOKING[service])(**PARAMETERS.get(service, {}))
    except ClientError as problem:
        return str(problem.response["Error"]["Code"])
    return ""


def test_every_service_is_looked_at() -> None:
    assert LOOKING.keys() == {model for models in SERVED.values() for model in models}


@pytest.mark.parametrize("service", LOOKING)
def test_a_service_answers_the_holder_of_the_key_and_nobody_else(cloud: Cloud, service: str) -> None:
    own = cloud.keys
    expected_code = "ValidationError" if service == "sagemaker-runtime" else ""
    assert code_of(cloud, service, *own) == expected_code
    for key in (
        "test",
        "000000000000",
        "123456789012",
        "AKIA" + "NOBODYKNOWSTHIS1",
        own.access_key[:-1],
        "none",
    ):
        assert code_of(cloud, service, key, own.secret_key) in UNKNOWN, key
    assert code_of(cloud, service, own.access_key, "test") in MISMATCH
    assert code_of(cloud, service, *own, "a-token") in UNKNOWN


def ask(
    cloud: Cloud,
    method: str = "GET",
    path: str = "/",
    body: bytes | None = None,
    *,
    patience: float | None = None,
    **headers: str,
) -> Any:
    """Status, headers and body of an answer to exactly this request, waited for without end or for some seconds."""
    connection = http.client.HTTPConnection("127.0.0.1", cloud.port, timeout=patience)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.putrequest(method, path, skip_host="Host" in named)
    for name, value in named.items():
        connection.putheader(name, value)
    if body is not None:
        connection.putheader("Content-Length", str(len(body)))
    connection.endheaders(body)
    answer = connection.getresponse()
    return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()


def signed(
    cloud: Cloud, service: str, method: str, path: str, body: bytes = b"", **headers: str
) -> dict[str, str]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    request = botocore.awsrequest.AWSRequest(method, cloud.endpoint_url + path, named, body)
    signer = botocore.auth.S3SigV4Auth if service == "s3" else botocore.auth.SigV4Auth
    signer(Credentials(*cloud.keys), service, "us-east-1").add_auth(request)
    return {name.replace("-", "_"): value for name, value in request.headers.items()}


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"), ("POST", "/"), ("GET", "/bucket/key"), ("PUT", "/bucket"), ("HEAD", "/bucket"),
        ("POST", "/2015-03-31/functions/query/invocations"), ("GET", "/_ministack/health"),
        ("POST", "/_ministack/reset"), ("GET", "/_localstack/health"), ("GET", "/health"),
        ("GET", "/_aws/sqs/messages"), ("POST", "/_aws/ses"), ("GET", "/_aws/execute-api/api/v1/uploads"),
        ("POST", "/?Action=ListQueues"), ("GET", "/?Action=GetCallerIdentity&Version=2011-06-15"),
        ("POST", "/oauth2/token"), ("GET", "/.well-known/openid-configuration"), ("DELETE", "/bucket/key"),
        ("PUT", "/_ministack/config"), ("GET", "/_ministack/cfn-response/x"), ("TRACE", "/"),
    ],
)  # fmt: skip
def test_nothing_is_revealed_without_a_signature(cloud: Cloud, method: str, path: str) -> None:
    status, headers, _ = ask(cloud, method, path, b"" if method == "POST" else None)
    assert status in (400, 403)
    assert not [name for name in headers if name.startswith("access-control")]


def test_a_made_up_signature_creates_no_function(cloud: Cloud) -> None:
    header = (
        f"AWS4-HMAC-SHA256 Credential={cloud.keys.access_key}/20261125/us-east-1/lambda/aws4_request, "
        "SignedHeaders=host, Signature=0"
    )
    status, _, body = ask(cloud, "POST", "/2015-03-31/functions", b"{}", Authorization=header)
    assert status == 403 and b"IncompleteSignature" in body  # it has no date


def test_a_request_of_another_name_or_of_a_web_page_is_refused_though_signed(cloud: Cloud) -> None:
    good = signed(cloud, "s3", "GET", "/")
    assert ask(cloud, **good)[0] == 200
    for more in (
        {"Origin": "http://127.0.0.1:8000"}, {"Origin": "null"}, {"Origin": cloud.endpoint_url},
    ):  # fmt: skip
        assert ask(cloud, **good, **more)[0] == 403
    for host in (
        "evil.example",
        f"evil.example:{cloud.port}",
        "127.0.0.1",
        f"127.0.0.1:{cloud.port + 1}",
        "",
    ):
        assert ask(cloud, **signed(cloud, "s3", "GET", "/", Host=host))[0] in (400, 403)
    assert ask(cloud, **signed(cloud, "s3", "GET", "/", Host=f"localhost:{cloud.port}"))[0] == 200
    preflight = {"Origin": "http://a.example", "Access_Control_Request_Method": "PUT"}
    status, headers, _ = ask(cloud, "OPTIONS", "/bucket/key", **preflight)
    assert status == 403 and not [name for name in headers if name.startswith("access-control")]


def test_no_answer_lets_a_page_read_it(cloud: Cloud) -> None:
    for service, path in (("s3", "/"), ("sqs", "/?Action=ListQueues"), ("lambda", "/2015-03-31/functions/")):
        status, headers, _ = ask(cloud, path=path, **signed(cloud, service, "GET", path))
        assert status == 200
        assert not [name for name in headers if name.startswith("access-control")]


def test_health_tells_a_stranger_only_that_it_is_there(cloud: Cloud) -> None:
    status, _, body = ask(cloud, path="/_protloc/health")
    assert (status, body) == (200, b"{}")
    assert (connection.health(cloud.port, cloud.home) or {})["home"] == str(cloud.home)


def test_a_role_learns_nothing_of_the_cloud(stack: Stack) -> None:
    request = botocore.awsrequest.AWSRequest("GET", stack.cloud.endpoint_url + "/_protloc/health")
    botocore.auth.SigV4Auth(stack.caller(), "protloc", "us-east-1").add_auth(request)
    headers = {name.replace("-", "_"): value for name, value in request.headers.items()}
    assert ask(stack.cloud, path="/_protloc/health", **headers)[0] == 403


def test_the_api_takes_no_signature_for_another_service(stack: Stack) -> None:
    path = f"/_aws/execute-api/{stack.outputs['ApiId']}/v1/ask?ask=hello"
    assert ask(stack.cloud, path=path, **signed(stack.cloud, "execute-api", "GET", path))[0] == 200
    for service in ("s3", "lambda", "protloc"):
        assert ask(stack.cloud, path=path, **signed(stack.cloud, service, "GET", path))[0] == 403
    assert ask(stack.cloud, **signed(stack.cloud, "execute-api", "GET", "/"))[0] == 403


def test_a_session_needs_its_token_and_its_secret(stack: Stack) -> None:
    caller = stack.caller()
    key, secret, token = caller.access_key, caller.secret_key, caller.token
    assert code_of(stack.cloud, "sts", key, secret, token) == ""
    assert code_of(stack.cloud, "sts", key, secret) in UNKNOWN
    assert code_of(stack.cloud, "sts", key, secret, token + "x") in UNKNOWN
    assert code_of(stack.cloud, "sts", key, secret[:-1], token) in MISMATCH


def test_nobody_can_compute_the_credentials_of_a_function(stack: Stack) -> None:
    """The engine derives them from names that all may know."""
    function = stack.client("lambda").get_function(FunctionName=stack.outputs["AnswerFunction"])[
        "Configuration"
    ]
    digest = hashlib.sha256(f"{function['FunctionArn']}:{function['Role']}".encode()).hexdigest()
    secret, token = (hashlib.sha256(f"{part}:{digest}".encode()).hexdigest() for part in ("secret", "token"))
    stack.client("lambda").invoke(FunctionName=stack.outputs["AnswerFunction"], Payload=b'{"ask": "pid"}')
    assert code_of(stack.cloud, "sts", f"ASIA{digest[:16].upper()}", secret, token) in UNKNOWN


@pytest.mark.parametrize("version", ["s3", "s3v4"])
def test_presigned_addresses_read_and_write_what_they_name_and_nothing_else(
    stack: Stack, version: str
) -> None:
    bucket, key = stack.outputs["Bucket"], "models/a b+ü/ä.txt"
    s3 = stack.cloud.client("s3", signature_version=version)
    named = {"Bucket": bucket, "Key": key}
    write = s3.generate_presigned_url("put_object", Params=named)
    read = s3.generate_presigned_url("get_object", Params=named)

    def status(method: str, url: str, body: bytes | None = None) -> int:
        parts = url.removeprefix(stack.cloud.endpoint_url)
        return int(ask(stack.cloud, method, parts, body)[0])

    assert status("PUT", write, b"hello") == 200
    assert urllib.request.urlopen(read).read() == b"hello"
    assert status("DELETE", write) == status("PUT", read, b"x") == 403
    assert status("GET", read.replace("models", "labels")) == 403
    assert status("GET", read + "&versionId=1") == 403
    assert urllib.request.urlopen(read).read() == b"hello"


def test_a_body_that_was_exchanged_is_refused(stack: Stack) -> None:
    path = f"/{stack.outputs['Bucket']}/models/exchanged"
    headers = signed(stack.cloud, "s3", "PUT", path, b"hello")
    assert ask(stack.cloud, "PUT", path, b"jello", **headers)[0] == 400
    assert ask(stack.cloud, "PUT", path, b"hello", **headers)[0] == 200
    queues = signed(stack.cloud, "sqs", "POST", "/", b"{}", X_Amz_Target="AmazonSQS.ListQueues")
    status, _, body = ask(stack.cloud, "POST", "/", b"{ }", **queues)
    assert status >= 400 and b"SignatureDoesNotMatch" in body


def test_a_refusal_arrives_though_the_client_still_sends(cloud: Cloud) -> None:
    with pytest.raises(ClientError) as refused:
        client(cloud, "s3", "test", "test").put_object(Bucket="bucket-1", Key="k", Body=b"x" * (6 << 20))
    assert refused.value.response["Error"]["Code"] == "InvalidAccessKeyId"


def test_curl_signs_as_the_documents_say(stack: Stack) -> None:
    cloud = stack.cloud
    user = ":".join(cloud.keys)

    def curl(service: str, *arguments: str) -> str:
        command = ["curl", "--silent", "--show-error", "--fail", "--noproxy", "*", "--user", user]
        signer = ["--aws-sigv4", f"aws:amz:us-east-1:{service}"]
        done = subprocess.run([*command, *signer, *arguments], capture_output=True, text=True, check=True)
        return done.stdout

    url = cloud.api_url(stack.outputs["ApiId"], "v1") + "/ask?ask=hello"
    assert json.loads(curl("execute-api", url))["ask"] == "hello"
    json_call = [
        "--header",
        "X-Amz-Target: AmazonSQS.ListQueues",
        "--header",
        "Content-Type: application/x-amz-json-1.0",
    ]
    assert "QueueUrls" in curl("sqs", *json_call, "--data", "{}", cloud.endpoint_url)
    assert "ListAllMyBucketsResult" in curl("s3", cloud.endpoint_url)
    with pytest.raises(subprocess.CalledProcessError):
        user = "test:test"
        curl("execute-api", url)


def test_the_key_file_is_one_that_aws_tools_take(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(cloud.home / "credentials"))
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    identity = boto3.Session(region_name="us-east-1").client("sts", endpoint_url=cloud.endpoint_url)
    assert identity.get_caller_identity()["Arn"].endswith(":root")


def test_the_variables_of_env_let_a_shell_work_on_the_cloud(cloud: Cloud) -> None:
    done = subprocess.run(
        ["bash", "-c", f'eval "$(protloc env --home {cloud.home})" && python -c "{LISTS}"'],
        env={
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.defpath]),
            "AWS_PROFILE": "other",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().endswith(":root us-east-1")


LISTS = "import boto3; c = boto3.client('sts'); print(c.get_caller_identity()['Arn'], c.meta.region_name)"


def listening(cloud: Cloud) -> dict[int, list[str]]:
    """The ports on which processes of a cloud listen, and the command of each."""
    processes = [psutil.Process(cloud.pid), *psutil.Process(cloud.pid).children(recursive=True)]
    commands: dict[int, list[str]] = {}
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            for each in process.net_connections("inet"):
                if each.status == psutil.CONN_LISTEN or each.type == socket.SOCK_DGRAM:
                    assert each.laddr.ip == "127.0.0.1", each
                    commands.setdefault(each.laddr.port, []).extend(process.cmdline())
    return commands


def test_every_socket_that_a_working_cloud_listens_on_refuses_a_stranger(
    stack: Stack, tmp_path: Path
) -> None:
    cloud, gate = stack.cloud, Gate(tmp_path / "gate")
    component = serving(stack, put(stack, "models/listened/model.tar.gz", artifact()))
    payload = json.dumps({"ask": "pid", "gate": str(gate.path)})
    with ThreadPoolExecutor(1) as threads:
        called = threads.submit(
            stack.client("lambda").invoke, FunctionName=stack.outputs["AnswerFunction"], Payload=payload
        )
        try:
            until(lambda: gate.reached)
            ports = listening(cloud)
            assert cloud.port in ports and len(ports) > 1, "the cloud's own and those of workers"
            for port in ports:
                for method, path in (
                    ("GET", "/"), ("GET", "/ping"), ("POST", "/invocations"), ("POST", "/"),
                    ("GET", "/2018-06-01/runtime/invocation/next"),
                    ("POST", "/2018-06-01/runtime/init/error"),
                ):  # fmt: skip
                    try:
                        there = Cloud(0, port, cloud.home)
                        status, _, body = ask(there, method, path, b"{}", patience=3)
                    except TimeoutError:
                        break  # an idle worker's socket is served by nobody until there is work
                    except ConnectionRefusedError:
                        assert port not in listening(cloud), "a worker that ended meanwhile has no socket"
                        break
                    except ConnectionError:
                        continue  # hung up on before the body was read: that is a refusal, too
                    assert status in (400, 403), (port, ports[port], method, path, status, body)
        finally:
            gate.open()
    assert "pid" in json.loads(called.result()["Payload"].read())["body"]
    assert component


def test_no_secret_stands_where_other_users_can_read_it(stack: Stack) -> None:
    """Command lines are everybody's to read: /proc/PID/cmdline."""
    cloud = stack.cloud
    stack.client("lambda").invoke(FunctionName=stack.outputs["AnswerFunction"], Payload=b'{"ask": "pid"}')
    for process in [psutil.Process(cloud.pid), *psutil.Process(cloud.pid).children(recursive=True)]:
        with contextlib.suppress(psutil.NoSuchProcess):
            words, environment = process.cmdline(), process.environ()
            secrets = [cloud.keys.secret_key, environment.get("AWS_LAMBDA_RUNTIME_API", "none")]
            assert not [word for word in words for secret in secrets if secret in word]
            assert cloud.keys.secret_key not in environment.values(), words


words = st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=60)
claims = st.sampled_from(
    [
        "AWS4-HMAC-SHA256 Credential={}/20261125/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0",
        "AWS4-HMAC-SHA256 Credential=a/b/c/d/aws4_request, SignedHeaders={}, Signature={}",
        "AWS4-HMAC-SHA256 Credential={},SignedHeaders={},Signature={}",
        "AWS {}:{}", "Bearer {}", "{}",
    ]
)  # fmt: skip
queries = st.sampled_from(
    [
        "", "?{}", "?X-Amz-Signature={}", "?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={}&X-Amz-Date={}",
        "?AWSAccessKeyId={}&Signature={}&Expires={}", "?Action={}",
    ]
)  # fmt: skip


@settings(max_examples=300, derandomize=True, suppress_health_check=list(HealthCheck))
@given(
    st.sampled_from(["GET", "PUT", "POST", "DELETE", "HEAD"]),
    words,
    queries,
    words,
    claims,
    st.booleans(),
    words,
)
def test_any_request_of_a_stranger_is_refused(
    cloud: Cloud, method: str, path: str, query: str, word: str, claim: str, signed: bool, date: str
) -> None:
    filled = query.replace("{}", quote(word, safe=""))
    headers = {"X_Amz_Date": date.strip(), "X_Amz_Target": word.strip()}
    if signed:
        headers["Authorization"] = claim.replace("{}", word).strip()
    status, answered, _ = ask(cloud, method, "/" + quote(path, safe="/") + filled, **headers)
    assert status in (400, 403), (status, answered)
