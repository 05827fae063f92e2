"""The modules of ``common`` that a bundle needs, copied into it as ``scripts``.

Modules import each other relatively, so that a copy under another name works. A package holds the modules that its
configs' targets reach through imports, the templates of pages and the weights beside them, and nothing else.
Docstrings lose their lists of arguments, which makes the code an eighth smaller; the repository has them.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

COMMON = Path(__file__).resolve().parents[1]
PARTS = (".css", ".html", ".js", ".json", ".pt")  # of a page; weights of the lung network, and their record
# Of a docstring; the first ends what is kept
SECTION = re.compile(r"\s*(Args|Returns|Yields|Raises|Example|Examples):")


def scripts(targets: Iterable[str]) -> dict[str, bytes]:
    """Return the files of a bundle's ``scripts``.

    Args:
        targets: classes and functions that its configs name, such as ``common.networks.unet.classic_unet``.

    Returns:
        Path below ``scripts`` to content, sorted.

    Raises:
        ValueError: if ``common`` does not have a target.
    """
    reached: dict[str, Path] = {}
    for target in sorted(set(targets)):
        module, _, name = target.rpartition(".")
        if name not in _names(module):
            raise ValueError(f"A config names {target}, which does not exist. Correct the config.")
        _follow(module, reached)
    files = {*reached.values(), *(file for path in reached.values() for file in _beside(path))}
    contents = {path.relative_to(COMMON).as_posix(): path.read_bytes() for path in sorted(files)}
    return {
        name: shortened(content.decode()).encode() if name.endswith(".py") else content
        for name, content in contents.items()
    }


def _beside(module: Path) -> list[Path]:
    """What belongs to the code in the folder of a package that is reached: parts of pages, weights."""
    return [path for suffix in PARTS for path in module.parent.glob(f"*{suffix}")] if module.stem == "__init__" else []


def shortened(text: str) -> str:
    """Return a module without the sections of its functions' and classes' docstrings (Args, Returns, Raises, Example).

    Example:
        >>> shortened(text).count("Args:")
        0
    """
    lines = text.split("\n")
    documented = [node for node in ast.walk(ast.parse(text)) if isinstance(node, (ast.FunctionDef, ast.ClassDef))]
    for node in sorted(documented, key=lambda node: node.lineno, reverse=True):  # so that numbers of lines hold
        if ast.get_docstring(node) is None:
            continue
        first, last = node.body[0].lineno - 1, (node.body[0].end_lineno or 0) - 1
        section = next((number for number in range(first + 1, last) if SECTION.fullmatch(lines[number])), None)
        if section is None:
            continue
        while not lines[section - 1].strip():
            section -= 1
        if section == first + 1:
            lines[first : last + 1] = [f'{lines[first]}"""']
        else:
            del lines[section:last]
    return "\n".join(lines)


def _follow(module: str, reached: dict[str, Path]) -> None:
    """Add a module, the packages that contain it, and everything that they import."""
    path = _file(module)
    if path is None or module in reached:
        return
    reached[module] = path
    _follow(module.rpartition(".")[0], reached)
    for source, name in _imports(module):
        _follow(source, reached)
        _follow(f"{source}.{name}", reached)


def _names(module: str) -> set[str]:
    """Return the classes and functions that a module defines; none if there is no such module."""
    path = _file(module)
    body = ast.parse(path.read_text(encoding="utf-8")).body if path else []
    return {node.name for node in body if isinstance(node, (ast.FunctionDef, ast.ClassDef))}


def _imports(module: str) -> Iterator[tuple[str, str]]:
    """Yield module and name of each relative import."""
    path = _file(module)
    if path is None:
        return
    package = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            source = ".".join([*package[: len(package) - node.level + 1], *([node.module] if node.module else [])])
            yield from ((source, alias.name) for alias in node.names)


def _file(module: str) -> Path | None:
    """Return the file of ``common.a.b``, or None if there is no such module."""
    path = COMMON.joinpath(*module.split(".")[1:])
    files = (path / "__init__.py", path.with_suffix(".py"))
    return next((file for file in files if module.split(".")[0] == "common" and file.is_file()), None)
