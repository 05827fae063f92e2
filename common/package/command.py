"""The command line of ``common.package``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from ..run.command import Parser
from .archive import size_without_weights
from .build import bundles, package
from .fetch import fetch
from .publish import lay_out, upload
from .signature import SUFFIX, check_signature, sign
from .verify import MODEL_INFO, verify


def main(arguments: Sequence[str]) -> int:
    """Package bundles; or verify, fetch, sign or publish packages.

    Args:
        arguments: command line without the name of the program.

    Returns:
        Exit code.

    Raises:
        FileNotFoundError, ValueError: see the functions of the same names in this folder.
    """
    step = STEPS.get(arguments[0]) if arguments else None
    if step is not None:
        step(arguments[1:])
        return 0
    parser = Parser(
        prog="python -m common.package",
        description="Writes bundles as zips that run without this repository.",
        epilog="With packages: verify FILE, fetch URL, sign model_info.json, publish FILE; each has its own --help.",
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
    parser.add_argument("--public_key", help="PEM file of the publisher, who signed the list")
    given = parser.parse_args(arguments)
    if given.public_key:
        info = Path(given.model_info or Path(given.package[0]).parent / MODEL_INFO)
        check_signature(info, info.with_name(info.name + SUFFIX), given.public_key)
    for path in given.package:
        print(verify(path, given.model_info))


def _fetch(arguments: Sequence[str]) -> None:
    parser = Parser(
        prog="python -m common.package fetch", description="Downloads a package, checks it, and unpacks it."
    )
    parser.add_argument("url", help="of the zip, or its path")
    parser.add_argument("--model_info", required=True, help="the publisher's list, a path or a URL")
    parser.add_argument("--public_key", help="PEM file of the publisher, who signed the list")
    parser.add_argument("--output_dir", default=".", help="receives the bundle's folder (default: here)")
    given = parser.parse_args(arguments)
    folder, name = fetch(given.url, given.model_info, given.output_dir, given.public_key)
    signed = f", signed with {given.public_key}" if given.public_key else ""
    print(f"{folder}: {name}, as in {given.model_info}{signed}. Run it:")
    print(f"cd {folder} && python -m monai.bundle run --config_file configs/inference.json --dataset_dir /data/scans")


def _sign(arguments: Sequence[str]) -> None:
    parser = Parser(prog="python -m common.package sign", description="Signs a list of packages.")
    parser.add_argument("model_info", help="the list, such as dist/model_info.json")
    parser.add_argument("--private_key", required=True, help="PEM file of an elliptic-curve key")
    given = parser.parse_args(arguments)
    print(f"{sign(given.model_info, given.private_key)}: publish it beside the list, and the public key elsewhere.")


def _publish(arguments: Sequence[str]) -> None:
    parser = Parser(
        prog="python -m common.package publish",
        description="Lays a package out as a Hugging Face repository, and uploads it if --upload is given.",
    )
    parser.add_argument("package", help="zip that python -m common.package wrote")
    parser.add_argument("--hub", required=True, help="folder that receives the repository")
    parser.add_argument("--licence", default="", help="of the weights, such as cc-by-nc-4.0; not needed for phantoms")
    parser.add_argument("--upload", metavar="OWNER/NAME", help="repository; the token is that of huggingface_hub")
    given = parser.parse_args(arguments)
    print(f"{lay_out(given.package, given.hub, given.licence)}: the card; the repository is {given.hub}")
    if given.upload:
        print(f"Uploaded: {upload(given.hub, given.upload)}")


STEPS: dict[str, Callable[[Sequence[str]], None]] = {
    "verify": _verify,
    "fetch": _fetch,
    "sign": _sign,
    "publish": _publish,
}
