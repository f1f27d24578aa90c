"""`docs/api.yaml` is true: the functions behind the API, asked in every way the document allows and more, keeps to it."""

import gzip
import re
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace
from typing import Any

import jsonschema_rs
import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from schemathesis.checks import load_all_checks
from schemathesis.config import SchemathesisConfig
from schemathesis.core.failures import AcceptedNegativeData, FailureGroup
from schemathesis.generation.feedback import FeedbackSources
from schemathesis.pytest._test_builder import build_operation_test

import functions.activate
import functions.parameters
import functions.query
import functions.retry
from functions.domain.locations import LOCATION_NAMES
from functions.domain.rows import COLUMNS
from functions.receive import receive
from functions.services.settings import Settings
from functions.sweep import move
from functions.withdraw import cancel
from protloc.stack.template import parse
from tests.functions.gateway import SIGNED, application, routes, served_world
from tests.functions.test_events import golden
from tests.functions.test_flow import fasta
from tests.functions.world import ROOT, VERSION, World
from tests.hostile.corpus import HEADERS, shown

DOCUMENT: dict[str, Any] = parse((ROOT / "docs" / "api.yaml").read_text())
UPLOADS: list[str] = []
"""The uploads of the world that is asked; an example names one by its place."""

CONFIG = SchemathesisConfig.from_dict(
    {
        "checks": {
            "positive_data_acceptance": {"expected-statuses": [200, 201, 202, 303, 404, 409, 410]},
            "negative_data_rejection": {"expected-statuses": [400, 403, 404, 409, 410, 413]},
            # The only one is the signature, for which the check wants 401: API Gateway answers 403.
            "missing_required_header": {"enabled": False},
        },
    }
)


def without_cursors(document: dict[str, Any]) -> dict[str, Any]:
    """The document for making up questions: a made-up cursor is refused, real ones are followed in test_query."""
    asked = deepcopy(document)
    for operation in (operation for path in asked["paths"].values() for operation in path.values()):
        of = operation.get("parameters", [])
        of[:] = [parameter for parameter in of if not parameter.get("$ref", "").endswith("/cursor")]
    return asked


schema = schemathesis.openapi.from_dict(without_cursors(DOCUMENT), config=CONFIG)
schema.app = application

ACCESSIONS = ["P00001", *(shown(header).split()[0][:100] for header in HEADERS.values() if shown(header))]


def known_or_not(known: st.SearchStrategy[str], pattern: str) -> st.SearchStrategy[str]:
    return known | st.from_regex(pattern, fullmatch=True)


schemathesis.openapi.format(
    "upload", known_or_not(st.integers(0, 6).map(lambda place: UPLOADS[place]), "[a-z2-7]{26}")
)
schemathesis.openapi.format("accession", st.sampled_from(ACCESSIONS) | st.text(min_size=1, max_size=100))
schemathesis.openapi.format("model-version", known_or_not(st.just(VERSION), "[a-z0-9][a-z0-9-]{0,39}"))


schemathesis.openapi.format("accessions", st.sampled_from(["P00001", "P00002,P00007", "nobody"]))
schemathesis.openapi.format("file-name", st.sampled_from(["a.fasta", "b c.fa.gz", "ü.faa"]))
schemathesis.openapi.format(
    "fasta",
    st.sampled_from([fasta(3).decode(), ">a\nMK1V\n>a\nMKVFAILEDWY\n", "some text\n>a\nMKVLAAGIVGMKV*"]),
)
schemathesis.openapi.format("organism", st.sampled_from(["Homo sapiens", "4932", "bacteria"]))
COLUMN = st.sampled_from(["upload", *COLUMNS])
schemathesis.openapi.format("fields", st.lists(COLUMN, min_size=1).map(",".join))


@schemathesis.auth().apply_to(path_regex=".*")
class Signer:
    """Signs as far as the gateway looks."""

    def get(self, _case: object, _context: object) -> str:
        return SIGNED

    def set(self, case: schemathesis.Case, data: str, _context: object) -> None:
        case.headers["Authorization"] = data


@pytest.fixture(scope="module")
def asked() -> Iterator[World]:
    """A stack with uploads of every kind."""
    with served_world() as made:
        hostile = b"".join(b">%b\nMKVLAAGIVG\n" % name.encode() for name in ACCESSIONS if "\0" not in name)
        UPLOADS[:] = [
            made.run(made.upload(fasta(30))),
            made.run(made.upload(hostile)),
            made.run(made.upload(b"no fasta")),
            receive(made.upload(fasta(3), key="in work"), made.aws) or "",
            failed(made),
            made.run(made.upload(b">a\nMKVFAILEDWY\n", key="deleted")),
            cancelled(made),
        ]
        made.aws.uploads.delete(UPLOADS[5])
        yield made


def failed(made: World) -> str:
    """An upload that could be retried."""
    identity = receive(made.upload(b">a\nMKVFAILEDWY\n"), made.aws)
    assert identity
    move(replace(made.aws.uploads.get(identity), deadline=0), made.aws)
    made.finish(identity)
    assert made.item(identity)["failed"] == 1
    return identity


def cancelled(made: World) -> str:
    """An upload that was cancelled before it was read."""
    identity = receive(made.upload(gzip.compress(fasta(3)), key="cancelled"), made.aws)
    assert identity
    cancel(identity, made.aws)
    made.finish(identity)
    return identity


def is_none(failure: BaseException) -> bool:
    """True if a failure is none: any text is an accession, though no strategy makes it."""
    violation = r"violates `format` at /properties/accession\b"
    return isinstance(failure, AcceptedNegativeData) and bool(re.search(violation, str(failure)))


@pytest.mark.parametrize("cases", [8, pytest.param(100, marks=pytest.mark.slow)])
@pytest.mark.parametrize("method", [f"{method} {path}" for path in schema for method in schema[path]])
def test_every_answer_is_one_that_the_document_tells_of(asked: World, method: str, cases: int) -> None:
    """Makes its cases when it runs: `schema.parametrize` does at collection, five seconds of every worker."""

    @settings(max_examples=cases, derandomize=True, suppress_health_check=list(HealthCheck))
    def answered(case: schemathesis.Case) -> None:
        try:
            case.call_and_validate()
        except FailureGroup as failures:
            if not all(map(is_none, failures.exceptions)):
                raise

    load_all_checks()
    word, _, path = method.partition(" ")
    build_operation_test(
        config=schema.config,
        operation=schema[path][word],
        test_func=answered,
        given_kwargs={},
        feedback=FeedbackSources(),  # no constants of the modules that happen to be imported
    )()


def test_the_document_tells_of_every_route_and_no_other() -> None:
    documented = {(method.upper(), path) for path, item in DOCUMENT["paths"].items() for method in item}
    assert documented == {route for route in routes() if route[0] != "HEAD"}
    assert "Every GET is answered for HEAD too" in DOCUMENT["info"]["description"]
    assert {path for method, path in routes() if method == "HEAD"} == {
        path for method, path in routes() if method == "GET"
    }


def examples(part: Any) -> Iterator[tuple[Any, Any]]:
    """Each example of the document, with the schema that it is of."""
    if isinstance(part, dict):
        of = part.get("schema", part)
        yield from (
            (of, each)
            for each in [*part.get("examples", []), *([part["example"]] if "example" in part else [])]
        )
        for name, value in part.items():
            if name not in ("example", "examples"):
                yield from examples(value)
    elif isinstance(part, list):
        for value in part:
            yield from examples(value)


def test_every_example_is_one_that_the_document_allows() -> None:
    pairs = list(examples(DOCUMENT))
    for schema, example in pairs:
        jsonschema_rs.Draft202012Validator(DOCUMENT | {"allOf": [schema]}).validate(example)
    bodies = [example for _, example in pairs]
    assert golden("api-upload") in bodies and len(bodies) >= 7
    assert golden("result-rows")[0] | {"upload": golden("api-upload")["upload"]} in bodies


def test_the_table_for_bioinformaticians_tells_of_every_route_and_no_other() -> None:
    lines = (ROOT / "docs" / "bioinformatician.md").read_text().splitlines()
    table = "\n".join(line for line in lines if line.startswith("| `"))
    documented = set(re.findall(r"`(GET|PUT|POST|DELETE) (/[^`?]*)[^`]*`", table))
    assert documented == {route for route in routes() if route[0] != "HEAD"}


def test_the_api_gives_the_time_that_rows_and_answers_are_kept() -> None:
    text = (ROOT / "docs" / "bioinformatician.md").read_text()
    assert f"for {Settings.prediction_days} days" in text and f"for {Settings.answer_days}; result" in text


def test_the_document_tells_of_every_location_and_column() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    assert schemas["Location"]["enum"] == list(LOCATION_NAMES)
    assert set(schemas["Row"]["required"]) == {"upload", *COLUMNS}
    sizes = DOCUMENT["components"]["parameters"]["size"]["schema"]
    assert (sizes["maximum"], sizes["default"]) == (
        functions.parameters.MAX_SIZE,
        functions.parameters.DEFAULT_SIZE,
    )
