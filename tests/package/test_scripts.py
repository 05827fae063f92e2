"""The code in a package is that of ``common``, but for the lists of arguments in its docstrings."""

from __future__ import annotations

import ast

import pytest
from conftest import ROOT

from common.package.configs import read_configs, targets
from common.package.scripts import COMMON, scripts, shortened

MODULE = '''"""A module.

Args:
    stay in the docstring of a module.
"""


class Kept:
    """One line, and a paragraph.

    The paragraph.

    Args:
        x: a number.
    """

    def double(self, x: int) -> int:
        """Double it.

        Returns:
            Twice the number.

        Raises:
            ValueError: never.
        """
        text = """
        Args:
        """
        return 2 * x + len(text)

    def plain(self) -> None:
        """Only a summary."""
'''
SHORTENED = '''"""A module.

Args:
    stay in the docstring of a module.
"""


class Kept:
    """One line, and a paragraph.

    The paragraph.
    """

    def double(self, x: int) -> int:
        """Double it."""
        text = """
        Args:
        """
        return 2 * x + len(text)

    def plain(self) -> None:
        """Only a summary."""
'''


def test_docstrings_keep_their_summary_and_their_paragraphs() -> None:
    assert shortened(MODULE) == SHORTENED == shortened(SHORTENED)


def without_docstrings(text: str) -> str:
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and ast.get_docstring(node) is not None:
            node.body[0] = ast.Pass()
    return ast.dump(tree)


def test_the_code_stays_the_same() -> None:
    for path in COMMON.rglob("*.py"):
        text = path.read_text()
        assert without_docstrings(shortened(text)) == without_docstrings(text), path
        assert "\n    Args:\n" not in shortened(text), path


def test_a_target_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match=r"names common\.metrics\.nothing, which does not exist"):
        scripts(["common.metrics.nothing"])


@pytest.mark.parametrize("bundle", sorted(path.name for path in (ROOT / "bundles").iterdir()))
def test_messages_name_no_yaml_file_because_a_package_has_none(bundle: str) -> None:
    files = scripts(targets(read_configs(ROOT / "bundles" / bundle / "configs")))
    for name, text in ((name, text) for name, text in files.items() if name.endswith(".py")):
        texts = [node.value for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Constant)]
        documented = [ast.get_docstring(node, clean=False) for node in ast.walk(ast.parse(text)) if has_docstring(node)]
        messages = [text for text in texts if isinstance(text, str) and " " in text and text not in documented]
        assert [message for message in messages if ".yaml" in message] == [], name


def has_docstring(node: ast.AST) -> bool:
    return isinstance(node, (ast.Module, ast.FunctionDef, ast.ClassDef))
