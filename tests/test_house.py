"""The imports between the rooms follow the rules of docs/architecture.md."""

from __future__ import annotations

import pytest

from tests.house import circles, imports, modules


def imported_by(room: str) -> set[str]:
    """Everything that the modules of a room import, its own modules left out."""
    inside = [name for name in imports() if name == room or name.startswith(f"{room}.")]
    return {name for module in inside for name in imports()[module]} - set(inside)


def test_no_modules_import_each_other_in_a_circle() -> None:
    assert circles(imports()) == []


@pytest.mark.parametrize(
    ("room", "never"),
    [
        ("functions", ("torch", "transformers", "sagemaker", "model", "protloc")),
        ("functions.domain", ("boto3", "botocore", "functions.services")),
        ("functions.services", ("functions.receive", "functions.split", "functions.predict")),
        ("model", ("functions", "protloc")),
        ("model.serving", ("model", "boto3", "sagemaker")),
        ("model.proteins", ("torch", "model.learning", "model.judging")),
        ("protloc", ("functions.services",)),
        ("protloc.stack", ("protloc.cloud", "ministack")),
        ("protloc.cloud.contracts", ("ministack", "protloc.cloud.engine")),
        ("protloc.cloud", ("protloc.cli",)),
    ],
)
def test_a_room_never_imports(room: str, never: tuple[str, ...]) -> None:
    assert (
        sorted(
            name
            for name in imported_by(room)
            if any(name == each or name.startswith(f"{each}.") for each in never)
        )
        == []
    )


def test_protloc_takes_from_the_other_packages_only_what_the_table_of_the_architecture_names() -> None:
    named = ("functions.domain", "functions.page", "functions.predict")
    named += ("model.proteins", "model.serving", "model.source")
    others = {name for name in imported_by("protloc") if name.startswith(("functions", "model"))}
    assert {
        name for name in others if not f"{name}.".startswith(tuple(f"{each}." for each in named))
    } == set()


def test_only_the_engine_room_knows_the_engine() -> None:
    inside = {name for name, names in imports().items() if "ministack" in names}
    assert {name for name in inside if not name.startswith("protloc.cloud.engine")} == set()


def test_handlers_never_import_each_other() -> None:
    handlers = {
        name for name, path in modules().items() if name.startswith("functions.") and name.count(".") == 1
    }
    handlers -= {"functions.domain", "functions.services", "functions.http", "functions.parameters"}
    assert {name: imports()[name] & handlers for name in handlers if imports()[name] & handlers} == {}
