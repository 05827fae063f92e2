"""The command line of ``common.package``."""

from __future__ import annotations

from collections.abc import Sequence

from ..run.command import Parser
from .archive import size_without_weights
from .build import bundles, package
from .verify import verify


def main(arguments: Sequence[str]) -> int:
    """Package bundles, or verify packages.

    Args:
        arguments: command line without the name of the program.

    Returns:
        Exit code.

    Raises:
        FileNotFoundError, ValueError: see ``common.package.build.package`` and ``common.package.verify.verify``.
    """
    if arguments[:1] == ["verify"]:
        _verify(arguments[1:])
        return 0
    parser = Parser(
        prog="python -m common.package",
        description="Writes bundles as zips that run without this repository; 'verify FILE' checks one.",
    )
    parser.add_argument("bundle", help=f"{', '.join(bundles())}, or all")
    parser.add_argument("--output_dir", default="dist", help="default: %(default)s")
    parser.add_argument(
        "--models_dir",
        help="holds <bundle>/model.pt and the record of its training (default: the bundle's own folders)",
    )
    parser.add_argument("--data", default="", help="what the weights were trained on; not needed for phantoms")
    parser.add_argument("--allow_dirty", action="store_true", help="package files that are not committed")
    given = parser.parse_args(arguments)
    for bundle in bundles() if given.bundle == "all" else [given.bundle]:
        path = package(bundle, given.output_dir, given.models_dir, given.data, given.allow_dirty)
        whole, rest = path.stat().st_size / 1e6, size_without_weights(path) / 1e3
        print(f"{path}: {whole:.1f} MB, of which {rest:.0f} kB are not weights", flush=True)
    return 0


def _verify(arguments: Sequence[str]) -> None:
    parser = Parser(prog="python -m common.package verify", description="Checks that a package was not changed.")
    parser.add_argument("package", nargs="+", help="zip, or the folder that it was unpacked to")
    parser.add_argument("--model_info", help="the publisher's list (default: model_info.json beside the package)")
    given = parser.parse_args(arguments)
    for path in given.package:
        print(verify(path, given.model_info))
