"""Runs one bundle over an archive of studies, each once, on Ray; and says what has become of them."""

from __future__ import annotations

import logging
import os
from argparse import Namespace
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser

from ..dicomweb.command import add_query, add_server, check_values, query_of
from ..dicomweb.server import Server, Unreachable
from ..files import sha256
from ..report.ledger import RUNNING
from ..run.bundle_folder import bundle_folder, inference_config, modality_of, read_metadata
from ..run.command import Parser, options_of
from ..run.errors import CasesFailed, NothingToDo
from ..run.model_record import weights_files
from ..run.overrides import check_settings
from ..run.ranges import check_ranges
from ..run.start import writable
from .driver import Interrupted, Run, Stopped, clear_parts, only_run, signals
from .journal import ASIDE, Journal, NoSpace
from .pool import Needs, Pool, RayLost, cluster, fitted, import_ray
from .sources import JOURNAL, Study, of_folders, of_list, of_server
from .summary import FILES, status_text, write_summary
from .supervise import AGAIN, supervised
from .worker import Task, Worker

OWN = ("dataset_dir", "output_dir", "bundle_root", "again", "run_id", "config_file")  # options that this command sets


def _parse(arguments: Sequence[str]) -> tuple[Namespace, dict[str, Any]]:
    """The options of this command, and those of the bundle's inference."""
    parser = Parser(
        prog="python -m common.archive",
        description=__doc__,
        epilog="All other options are those of the bundle's inference.yaml, such as --weights and --outputs. "
        "python -m common.archive status DIR [--failed] says what has become of the studies.",
    )
    add = parser.add_argument
    add("sources", nargs="*", help="folders; a study is each folder and each file in them")
    add("--bundle", required=True, help="name of a bundle, or the folder of one or of an unpacked package")
    add("--output_dir", required=True, help="folder of the results and the journal")
    add("--depth", type=int, default=1, help="of the studies below the folders (default: %(default)s, directly)")
    add("--list", default="", help="in place of folders: a text file with one path a line")
    add_server(parser, required=False)
    add_query(parser, modality="")
    add("--workers", type=int, default=0, help="processes (default: as many as there is room for)")
    add("--cpus", type=int, default=4, help="of a worker (default: %(default)s, or all if there are fewer)")
    add("--gpus", type=float, help="of a worker, such as 1 or 0.5; 0 for none (default: 1 where there is any)")
    add("--memory", type=float, default=4.0, help="of a worker, GiB (default: %(default)s)")
    add("--minutes", type=float, default=60.0, help="that a study may take (default: %(default)s)")
    add("--address", default="", help="of a Ray cluster, or auto (default: Ray on this computer)")
    add("--retry", action="store_true", help="try studies again that were set aside")
    own, rest = parser.parse_known_args(arguments)
    return own, options_of(rest)


def main(arguments: Sequence[str]) -> int:
    """Run the command.

    Args:
        arguments: without the program's name.

    Returns:
        Exit code.
    """
    words = list(arguments)
    if words[:1] == ["status"]:
        return _status(words[1:])
    words = words[1:] if words[:1] == ["run"] else words
    own, options = _parse(words)
    _check(own, options)
    import_ray()
    return supervised(run_archive, words, own.output_dir)


def _check(own: Namespace, options: dict[str, Any]) -> Path:
    """Refuse options that cannot be used; returns the path of the bundle's config."""
    given = [bool(own.sources), bool(own.list), bool(own.server)]
    if sum(given) != 1:
        raise ValueError("Give the folders of the studies, or --list with a file of paths, or --server with a query.")
    for name, least in (("depth", 1), ("cpus", 1), ("workers", 0), ("memory", 0), ("minutes", 0.01), ("gpus", 0)):
        value = getattr(own, name)
        if value is not None and not value >= least:
            raise ValueError(f"--{name} must be {least:g} or more, got {value:g}.")
    if own.gpus and own.gpus > 1 and own.gpus != int(own.gpus):
        raise ValueError(f"--gpus must be a whole number, or a part of one GPU such as 0.5, got {own.gpus:g}.")
    check_values(own)
    config = inference_config(bundle_folder(own.bundle)).absolute()
    for name in options:
        if name.split("::")[0] in OWN:
            raise ValueError(f"--{name} is set for each study by this command. Leave it out.")
    check_settings(options, [str(config)])
    check_ranges(options)
    return config


def run_archive(
    arguments: Sequence[str],
    folder: str = "",
    make: Callable[..., Any] = Worker,
    is_orphan: Callable[[], bool] = lambda: False,
) -> int:
    """Run an archive in this process.

    Args:
        arguments: of the command line.
        folder: of Ray's logs and sockets.
        make: class of the workers.
        is_orphan: says whether the process that waits for this one has ended.

    Returns:
        Exit code: 0 if all studies are done.

    Raises:
        CasesFailed: if studies were set aside.
        NothingToDo: if there is no study.
        Stopped: if the run ended before the end.
        NoSpace: if a disk is full.
        RayLost: if Ray's own processes were killed.
    """
    own, options = _parse(arguments)
    config = _check(own, options)
    output = writable(Path(own.output_dir).absolute())
    settings, weights, modality = _settings(config, options)
    received: list[int] = []
    with only_run(output):
        journal = Journal(output / JOURNAL)
        try:
            journal.start(settings)
            clear_parts(output)
            again = journal.retry() if own.retry else 0
            own.modality = own.modality or modality
            new = journal.add(_studies(own))
            left = len(journal.left())
            counts = journal.counts()
            total = sum(counts.values())
            if not total:
                raise NothingToDo("There is no study: the folders, the list or the answer to the query hold none.")
            logging.info("%d studies, %d new, %d left%s.", total, new, left, f", {again} again" if again else "")
            if left:
                with cluster(own.address, folder) as ray, signals(received):  # after Ray, which sets its own
                    needs, workers = fitted(ray, Needs(own.cpus, own.gpus, own.memory), own.workers)
                    workers = min(workers, left)
                    logging.info("Workers: %d, each with %d processors and %g GPUs.", workers, needs.cpus, needs.gpus)
                    task = Task(
                        *(str(config), options, str(output), weights, modality, own.ca),
                        *(os.getcwd(), needs.cpus, bool(needs.gpus)),
                    )
                    pool = Pool(ray, make, task, needs, workers, own.minutes * 60)
                    try:
                        Run(journal, output, received, is_orphan)(pool)
                    finally:
                        pool.close()
            write_summary(journal, output)
            return _told(journal, output)
        except Interrupted:
            _write_what_is_known(journal, output)
            raise
        except RayLost:
            if received:  # Ray's own processes received the signal, too
                raise Stopped(f"Stopped by a signal. {AGAIN}") from None
            raise
        except Unreachable as error:
            raise Stopped(f"{error} {AGAIN}") from None
        except Stopped as error:
            _write_what_is_known(journal, output)
            raise Stopped(f"{error} {AGAIN}") from None
        except NoSpace as error:
            raise NoSpace(f"{error} Free some. {AGAIN}") from None
        finally:
            clear_parts(output)
            journal.close()


def _write_what_is_known(journal: Journal, output: Path) -> None:
    """Write the tables of a run that ended early, if that is possible."""
    try:
        write_summary(journal, output)
    except OSError as error:
        logging.warning("The tables were not written: %s", error)


def _told(journal: Journal, output: Path) -> int:
    """Print how the run ended."""
    counts = journal.counts()
    print(f"\n{status_text(journal)}\n\nWritten: {output}/{', '.join(FILES)}")
    if counts.get(ASIDE):
        raise CasesFailed(
            f"{counts[ASIDE]} of {sum(counts.values())} studies failed twice and are set aside. "
            f"python -m common.archive status {output} --failed lists them; --retry tries them again."
        )
    return 0


def _settings(config: Path, options: dict[str, Any]) -> tuple[dict[str, Any], dict[str, str], str]:
    """What the results depend on; the weights with their SHA-256; the modality of the bundle."""
    parser = ConfigParser()
    parser.read_config(str(config))
    parser.update({**options, "bundle_root": str(config.parents[1])})
    files = weights_files(parser.get_parsed_content("weights"), several=True)
    lacking = [str(file) for file in files if not file.is_file()]
    if lacking:
        raise FileNotFoundError(f"No weights at {', '.join(lacking)}. Give a checkpoint with --weights.")
    weights = {str(file.absolute()): sha256(file) for file in files}
    metadata = read_metadata(config.parents[1])
    shaping = {name: value for name, value in options.items() if name not in ("weights", *RUNNING)}
    shaping |= {name: options[name] for name in ("include", "exclude") if name in options}
    facts = {
        "bundle": config.parents[1].name,
        "version": metadata.get("version"),
        "weights": ", ".join(weights.values()),
    }
    return {**facts, **shaping}, weights, modality_of(metadata)


def _studies(own: Namespace) -> list[Study]:
    """The studies of the source."""
    if own.list:
        return of_list(own.list)
    if own.server:
        return of_server(Server(own.server, own.ca), query_of(own))
    return of_folders(own.sources, own.depth, own.output_dir)


def _status(arguments: Sequence[str]) -> int:
    """Print what has become of the studies, also while a run is on."""
    parser = Parser(prog="python -m common.archive status", description="What has become of the studies of an archive.")
    parser.add_argument("folder", help="--output_dir of the run")
    parser.add_argument("--failed", action="store_true", help="a line for each study that failed, with the reason")
    own = parser.parse_args(arguments)
    path = Path(own.folder) / JOURNAL
    if not path.is_file():
        raise FileNotFoundError(f"{own.folder} holds no {JOURNAL}. Give the --output_dir of a run.")
    journal = Journal(path)
    settings = ", ".join(f"{name} {value}" for name, value in journal.settings().items())
    print(f"{settings}\n\n{status_text(journal, own.failed)}")
    journal.close()
    return 0
