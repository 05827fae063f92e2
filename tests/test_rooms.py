"""The map of ``common``, its imports and the length of its files."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from conftest import ROOT

COMMON = ROOT / "common"
MAP = COMMON / "README.md"
FILES = sorted(COMMON.rglob("*.py"))
LONGEST = 350  # lines of a file
# Large or optional libraries, imported where they are needed
HEAVY = {
    *("dicomweb_client", "highdicom", "huggingface_hub", "itk", "model_signing", "requests", "retrying"),
    *("openvino", "ray", "vtk", "vtkmodules"),
}


def module_of(path: Path) -> str:
    """``common.x.y`` of a file."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(path): path for path in FILES}


def imported_modules(path: Path) -> set[str]:
    """The modules of ``common`` that a file imports, those of functions too."""
    package = module_of(path) if path.name == "__init__.py" else module_of(path).rpartition(".")[0]
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            source = ".".join([*above, *([node.module] if node.module else [])])
            names = {f"{source}.{alias.name}" for alias in node.names}
            found |= {name for name in names if name in MODULES} or {source}
    return found & MODULES.keys()


def cycle(graph: dict[str, set[str]]) -> list[str]:
    """The nodes of a cycle, the first one again at the end, or nothing."""
    done: set[str] = set()

    def visit(node: str, way: list[str]) -> list[str]:
        if node in way:
            return [*way[way.index(node) :], node]
        if node not in done:
            for other in sorted(graph[node]):
                if found := visit(other, [*way, node]):
                    return found
            done.add(node)
        return []

    return next((found for node in sorted(graph) if (found := visit(node, []))), [])


def imports_in_functions(path: Path) -> Iterator[str]:
    """``line: name`` of each import inside a function, of a library that is not a heavy one."""
    for function in ast.walk(ast.parse(path.read_text())):
        if isinstance(function, ast.FunctionDef):
            for node in ast.walk(function):
                if isinstance(node, ast.Import):
                    names = [alias.name for alias in node.names]
                elif isinstance(node, ast.ImportFrom):
                    names = ["." * node.level + (node.module or "")]
                else:
                    continue
                yield from (f"{node.lineno}: {name}" for name in names if name.partition(".")[0] not in HEAVY)


def test_the_map_names_every_room_and_no_other() -> None:
    rooms = {f"{path.name}/" for path in COMMON.iterdir() if list(path.rglob("*.py"))}
    rooms |= {path.name for path in COMMON.glob("*.py") if path.name != "__init__.py"}
    named = re.findall(r"^\| `([^`]+)` \|", MAP.read_text(), re.MULTILINE)
    assert sorted(named) == sorted(rooms)


def test_every_file_that_the_map_names_exists() -> None:
    named = re.findall(r"`([\w/]+/|[\w/]+\.py)`", MAP.read_text())
    assert len(named) > 20
    folders = [path for path in COMMON.rglob("*") if path.is_dir()]
    assert [name for name in named if not any((folder / name).exists() for folder in (COMMON, *folders))] == []


def test_no_modules_import_each_other_in_a_cycle() -> None:
    assert cycle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"], "a cycle is found"
    graph = {name: imported_modules(path) for name, path in MODULES.items()}
    assert sum(map(len, graph.values())) > len(graph), "imports are found"
    assert cycle(graph) == []


def test_imports_stand_at_the_top_of_a_file() -> None:
    lazy = COMMON / "__init__.py"  # gives ``load``, which imports all that inference needs
    found = {str(path.relative_to(ROOT)): list(imports_in_functions(path)) for path in FILES if path != lazy}
    assert {name: imports for name, imports in found.items() if imports} == {}


def test_no_file_is_longer_than_350_lines() -> None:
    lines = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in FILES}
    assert {name: count for name, count in lines.items() if count > LONGEST} == {}
