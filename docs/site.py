"""MkDocs hook: the site shows the repository's pages, each under its path in the repository, and the code's docstrings.

Because every file keeps its path, the same relative links and images work in the repository and on the site.
"""

from __future__ import annotations

import re
from pathlib import Path
from posixpath import dirname, join, normpath, relpath

import griffe
import nbformat
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from nbconvert import MarkdownExporter
from nbconvert.preprocessors import ExecutePreprocessor
from traitlets.config import Config

ROOT = Path(__file__).resolve().parents[1]
SHOWN = (
    *("*.md", "LICENSE", "CITATION.cff", "docs/*.md", "docs/*.png", "docs/*.jpg", "docs/*.css", "common/README.md"),
    *("bundles/*/docs/*", "bundles/*/configs/*"),
)
LINK = re.compile(r"(?<=\]\()(?!\w+:|#)[^)\s#]+")  # the target of [text](target#anchor), unless on another site


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Replace the files of ``docs`` by those of the repository, and add a page for each package of ``common``."""
    shown = Files([file for file in files if file.src_dir != config.docs_dir])  # the theme's
    for path in sorted(path for pattern in SHOWN for path in ROOT.glob(pattern)):
        shown.append(File.generated(config, path.relative_to(ROOT).as_posix(), abs_src_path=str(path)))
    for path in sorted(ROOT.glob("docs/*.ipynb")):
        for name, content in executed(path).items():
            shown.append(File.generated(config, f"docs/{name}", content=content))
    pages = code_pages()
    for page, (first, *others) in pages.items():
        top = f"::: {first}\n    options: {{heading_level: 1}}"
        shown.append(File.generated(config, page, content="\n\n".join([top, *(f"::: {name}" for name in others)])))
    assert config.nav is not None
    config.nav.append({"Code": ["common/README.md", *({names[0]: page} for page, names in pages.items())]})
    return shown


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Lead links to modules and packages of ``common``, and to notebooks, to the page that shows them."""
    folder = dirname(page.file.src_uri)

    def lead(link: re.Match[str]) -> str:
        target = Path(normpath(join(folder, link[0])))
        if target.parts[0] == "common" and (target.suffix == ".py" or (ROOT / target / "__init__.py").is_file()):
            return relpath(code_page(target), folder)
        if target.suffix == ".ipynb":
            return str(Path(link[0]).with_suffix(".md"))
        return link[0]

    return LINK.sub(lead, markdown)


def executed(path: Path) -> dict[str, str | bytes]:
    """Run a notebook; its page and its figures by name. An error in a cell ends the build."""
    notebook = nbformat.read(path, as_version=4)
    local = Config({"KernelManager": {"transport": "ipc"}})  # no network
    ExecutePreprocessor(timeout=600, config=local).preprocess(notebook, {"metadata": {"path": str(ROOT)}})
    for cell in notebook.cells:  # what libraries print beside the results
        cell["outputs"] = [output for output in cell.get("outputs", []) if output.get("name") != "stderr"]
    page, resources = MarkdownExporter().from_notebook_node(notebook, {"unique_key": path.stem})
    return {f"{path.stem}.md": page, **resources["outputs"]}


def code_pages() -> dict[str, list[str]]:
    """Modules by the page that shows them: one page for each package, and one for each module directly in common."""
    pages: dict[str, list[str]] = {}
    for path in sorted((ROOT / "common").rglob("*.py")):
        module = path.relative_to(ROOT)
        if path.stem != "__main__" and module != Path("common/__init__.py"):
            name = ".".join(module.with_suffix("").parts).removesuffix(".__init__")
            pages.setdefault(code_page(module), []).append(name)
    return dict(sorted(pages.items(), key=lambda page: page[1][0]))


def code_page(path: Path) -> str:
    """The page that shows a module or package of ``common``."""
    package = path if path.suffix != ".py" else path.parent
    if package == Path("common"):
        return path.with_suffix(".md").as_posix()
    return f"{package.as_posix()}/index.md"


class Examples(griffe.Extension):
    """Read the section ``Example:`` as griffe reads ``Examples:``."""

    def on_object(self, *, obj: griffe.Object, **_: object) -> None:
        """Called for each object with a docstring or without."""
        if obj.docstring:
            obj.docstring.value = re.sub(r"^Example:$", "Examples:", obj.docstring.value, flags=re.MULTILINE)
