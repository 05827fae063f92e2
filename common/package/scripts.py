"""What of ``common`` a bundle needs, copied into it as ``scripts``.

Modules import each other relatively, so that a copy under another name works unchanged. The ``__init__`` files alone
are cut down: they offer whatever the repository holds, and a bundle takes what its configs reach.
"""

from __future__ import annotations

import ast
import re
import textwrap
from collections.abc import Iterable
from pathlib import Path

COMMON = Path(__file__).resolve().parents[1]
WIDTH = 120

# Imported only for the other modality, inside functions, so that a package can do without.
OTHER_MODALITY = {
    "CT": ("common.datasets.ultrasound_sources", "common.phantoms.ultrasound"),
    "US": ("common.datasets.ct_sources", "common.phantoms.layouts"),
}


def scripts(targets: Iterable[str], modality: str) -> dict[str, str]:
    """Files of a bundle's ``scripts``.

    Args:
        targets: what its configs name, such as ``common.networks.classic_unet``.
        modality: ``CT`` or ``US``.

    Returns:
        Path below ``scripts`` to text, sorted.

    Raises:
        ValueError: for a target that ``common`` does not have.
    """
    reached = Reached(OTHER_MODALITY[modality])
    for target in sorted(set(targets)):
        module, _, name = target.rpartition(".")
        reached.add_name(module, name)
        if not reached.offers(module, name):
            raise ValueError(f"A config names {target}, which there is not. Correct the config.")
    return {
        path.relative_to(COMMON).as_posix(): reached.text(module) for module, path in sorted(reached.modules.items())
    }


class Reached:
    """The modules that are imported, directly or not, and the names that are asked of each package.

    Args:
        without: modules that are not followed.
    """

    def __init__(self, without: Iterable[str] = ()) -> None:
        self.without = tuple(without)
        self.modules: dict[str, Path] = {}
        self.names: set[tuple[str, str]] = set()

    def add_name(self, module: str, name: str) -> None:
        """Follow ``from module import name``."""
        if (module, name) in self.names or module.startswith(self.without) or f"{module}.{name}" in self.without:
            return
        self.names.add((module, name))
        self.add_module(module)
        if module_file(f"{module}.{name}"):
            self.add_module(f"{module}.{name}")
        if _is_package(module):
            for source, offered, alias in _imports(module, _tree(module).body):
                if alias == name:
                    self.add_name(source, offered)

    def add_module(self, module: str) -> None:
        """Follow all that a module imports; of a package, what its own code uses."""
        path = module_file(module)
        if path is None or module in self.modules:
            return
        self.modules[module] = path
        if "." in module:
            self.add_module(module.rpartition(".")[0])
        tree = _tree(module)
        used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        for source, name, alias in _imports(module, ast.walk(tree)):
            if not _is_package(module) or alias in used:
                self.add_name(source, name)

    def offers(self, module: str, name: str) -> bool:
        """Whether a module is there and defines or imports a name."""
        if module_file(module) is None:
            return False
        defined = {getattr(node, "name", None) for node in _tree(module).body}
        imported = {alias for _, _, alias in _imports(module, _tree(module).body)}
        return name in defined | imported or module_file(f"{module}.{name}") is not None

    def text(self, module: str) -> str:
        """A module's source; a package's without the imports that lead to what is not reached."""
        text = self.modules[module].read_text(encoding="utf-8")
        if not _is_package(module):
            return text
        lines = text.splitlines(keepends=True)
        gone: set[str] = set()
        for node in reversed([node for node in _tree(module).body if isinstance(node, ast.ImportFrom) and node.level]):
            found = [alias for _, _, alias in _imports(module, [node])]
            kept = [alias for source, name, alias in _imports(module, [node]) if (source, name) in self.names]
            gone |= set(found) - set(kept)
            if len(kept) < len(found):
                lines[node.lineno - 1 : node.end_lineno] = [_import_line(node, kept)] if kept else []
        offered = "".join(lines)
        for name in gone:
            offered = re.sub(rf'(?m)^    "{name}",\n|"{name}", |, "{name}"(?=\])', "", offered)
        return offered


def module_file(module: str) -> Path | None:
    """The file of ``common.a.b``, or None where there is no such module."""
    path = COMMON.joinpath(*module.split(".")[1:])
    for file in (path / "__init__.py", path.with_suffix(".py")):
        if module.split(".")[0] == "common" and file.is_file():
            return file
    return None


def _is_package(module: str) -> bool:
    file = module_file(module)
    return file is not None and file.name == "__init__.py"


def _tree(module: str) -> ast.Module:
    file = module_file(module)
    return ast.parse(file.read_text(encoding="utf-8") if file else "")


def _imports(module: str, nodes: Iterable[ast.AST]) -> list[tuple[str, str, str]]:
    """Relative imports among nodes: module, name, and what it is called here."""
    package = module.split(".") if _is_package(module) else module.split(".")[:-1]
    found = []
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and node.level:
            source = ".".join([*package[: len(package) - node.level + 1], *([node.module] if node.module else [])])
            found += [(source, alias.name, alias.asname or alias.name) for alias in node.names]
    return found


def _import_line(node: ast.ImportFrom, names: list[str]) -> str:
    line = f"from {'.' * node.level}{node.module or ''} import {', '.join(names)}"
    if len(line) > WIDTH:
        listed = textwrap.indent(",\n".join(names), "    ")
        line = f"from {'.' * node.level}{node.module or ''} import (\n{listed},\n)"
    return line + "\n"
