"""The engine's private names are where this package looks for them; a new release that moves one fails here."""

from __future__ import annotations

import ast
import importlib
import importlib.metadata
import inspect
from pathlib import Path

import pytest

from protloc.cloud.engine import names

INSTALLED = importlib.metadata.version("ministack")
NAMES = [(module, name) for module, listed in names.TOUCHED.items() for name in listed]
ROOM = Path(names.__file__).parent


def test_the_installed_engine_is_the_pinned_one() -> None:
    assert names.VERSION == INSTALLED
    names.check_version()


def test_another_version_is_refused_at_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(names, "VERSION", "9.9.9")
    with pytest.raises(names.EngineVersionError, match=rf"needs ministack 9\.9\.9, found {INSTALLED}"):
        names.check_version()


@pytest.mark.parametrize(("module", "name"), NAMES, ids=[f"{module}.{name}" for module, name in NAMES])
def test_a_private_name_is_still_there(
    module: str, name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for key, value in names.environment(tmp_path, 4566).items():
        monkeypatch.setenv(key, value)
    member = getattr(importlib.import_module(module), name, None)
    assert member is not None, f"ministack {INSTALLED} has no {module}.{name}"
    expected = names.TOUCHED[module][name]
    if expected is not None:
        parameters = tuple(inspect.signature(member).parameters)
        assert parameters == expected, f"ministack {INSTALLED} changed {module}.{name}: {parameters}"


def test_no_other_room_names_a_module_of_the_engine() -> None:
    for path in ROOM.parent.rglob("*.py"):
        text = path.read_text()
        assert path == ROOM / "names.py" or "import ministack" not in text, path
        assert path.parent == ROOM or '"ministack.' not in text, path


def test_every_private_name_in_use_is_listed() -> None:
    listed_names = {name for listed in names.TOUCHED.values() for name in listed}
    own = {"_data", "__name__", "_exit"}
    for path in ROOM.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if (
                isinstance(node, ast.Attribute)
                and node.attr.startswith("_")
                and isinstance(node.value, ast.Name)
            ):
                if node.value.id in ("self", "cls"):
                    continue
                assert node.attr in listed_names | own, (
                    f"{path.name}:{node.lineno} uses {node.attr}, not in TOUCHED"
                )
