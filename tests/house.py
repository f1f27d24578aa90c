"""The rooms of the project and their imports: `make house` draws it, `test_house.py` holds its rules."""

from __future__ import annotations

import ast
import sys
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = ("functions", "model", "protloc")

Imports = dict[str, set[str]]
"""The imports of each module, by dotted names."""


def modules() -> dict[str, Path]:
    """The modules of the three packages, by dotted name; a package is named without `__init__`."""
    paths = {}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            paths[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return paths


@cache
def imports() -> Imports:
    """The imports of every module: of the project's modules themselves, of others their top-level name."""
    paths = modules()
    return {name: set(_imported(path, paths)) for name, path in paths.items()}


def _imported(path: Path, paths: dict[str, Path]) -> Iterator[str]:
    typing_only = set()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            typing_only.update(id(inner) for inner in ast.walk(node))
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.Import):
            yield from (_known(alias.name, paths) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in paths else _known(node.module, paths)


def _known(name: str, paths: dict[str, Path]) -> str:
    return name if name in paths else name.split(".")[0]


def room(module: str) -> str:
    """The folder of a module, as a dotted name."""
    path = modules()[module]
    return ".".join(path.relative_to(ROOT).parent.parts)


def between_rooms(imported: Imports) -> dict[tuple[str, str], int]:
    """Count the imports that lead from one room to another."""
    paths = modules()
    rooms = {name: ".".join(path.relative_to(ROOT).parent.parts) for name, path in paths.items()}
    edges: dict[tuple[str, str], int] = defaultdict(int)
    for module, names in imported.items():
        for name in names & paths.keys():
            if rooms[module] != rooms[name]:
                edges[rooms[module], rooms[name]] += 1
    return dict(edges)


def circles(imported: Imports) -> list[list[str]]:
    """Groups of modules that import each other, directly or not: Tarjan's strongly connected components."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    groups: list[list[str]] = []

    def visit(name: str) -> None:
        index[name] = low[name] = len(index)
        stack.append(name)
        for other in sorted(imported[name] & imported.keys()):
            if other not in index:
                visit(other)
                low[name] = min(low[name], low[other])
            elif other in stack:
                low[name] = min(low[name], index[other])
        if low[name] == index[name]:
            group = []
            while (member := stack.pop()) != name:
                group.append(member)
            groups.append([*group, name])

    for name in sorted(imported):
        if name not in index:
            visit(name)
    return [sorted(group) for group in groups if len(group) > 1]


def picture() -> str:
    """The rooms with their size, then the imports of each from the others, as text."""
    paths = modules()
    sizes: dict[str, list[int]] = defaultdict(list)
    for path in paths.values():
        sizes[".".join(path.relative_to(ROOT).parent.parts)].append(len(path.read_text().splitlines()))
    edges = between_rooms(imports())
    lines = []
    for name, lengths in sorted(sizes.items()):
        lines.append(f"{name:<24}{len(lengths):>4} files{sum(lengths):>7} lines")
        for (source, target), count in sorted(edges.items(), key=lambda edge: -edge[1]):
            if source == name:
                lines.append(f"    -> {target:<24}{count:>4}")
    return "\n".join(lines)


if __name__ == "__main__":
    print(picture())
    sys.exit(bool(circles(imports())))
