"""Compares two runs on the same cases: paired differences, Wilcoxon's test, a picture.

``python -m common.compare run_a/eval run_b/eval`` writes ``comparison.csv``, ``differences.csv``, ``comparison.png``
and ``report.html``. docs/statistics.md says what the columns mean.
"""

from __future__ import annotations

import logging
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..report.html.scores import CASES, table, write_tables_page
from ..run.command import Parser
from ..run.start import writable
from ..statistics import Paired, holm, interval_over, paired
from ..tables import aligned, print_table, score_of, write_csv
from .cases import Scores, read_scores
from .figure import draw_pairs

logger = logging.getLogger(__name__)

FILES = ("comparison.csv", "differences.csv", "comparison.png", "report.html")
COLUMNS = ("first", "second", "difference", "pairs", "interval_over", "p", "p_holm")


def compare(first: Path, second: Path, output: Path, **options: Any) -> dict[str, Paired]:
    """Compare two runs, and write the tables, the picture and the page.

    Args:
        first: output folder of an evaluation, or one of its tables of cases.
        second: of the other run.
        output: folder of the results.
        options: ``names`` of both runs, and ``table`` and ``chosen`` as ``read_scores`` takes them.

    Returns:
        The comparison of each score.

    Example:
        >>> found = compare(Path("unet/eval"), Path("vgg19/eval"), Path("comparison"))
        >>> found["dice"].difference.low, found["dice"].p
    """
    names = options.pop("names", None) or _names(first, second)
    scores = read_scores(first, second, **options)
    results = {name: paired(values[0], values[1], scores.owners) for name, values in scores.values.items()}
    rows = _rows(results, scores.word)
    write_csv(output / FILES[0], ["score", *COLUMNS], rows, form=".6g")
    _write_differences(output / FILES[1], scores)
    note = f"{scores.table}, {len(scores.keys)} cases of both runs; one dot per {scores.word.removesuffix('s')}"
    draw_pairs(output / FILES[2], _by_owner(scores), results, names, note)
    lines = [
        f"First: {names[0]} ({first}). Second: {names[1]} ({second}). Scores of {scores.table}.",
        "difference: mean of second minus first over the cases that both have scored, with its 95 % interval by "
        "bootstrap over what the column interval_over names.",
        "p: Wilcoxon's signed-rank test over the same, two-sided. p_holm: corrected by Holm over the classes of one "
        "score.",
    ]
    if scores.alone:
        lines.append(f"Not compared, as only one run has them: {', '.join(scores.alone)}.")
        logger.warning("%s", lines[-1])
    write_tables_page(output, f"{names[1]} against {names[0]}", [table(output / FILES[0])], [output / FILES[2]], lines)
    heading = ["", *names, "difference", "pairs", "interval over", "p", "p Holm"]
    print_table(aligned(heading, rows), output, *FILES)
    return results


def _rows(results: dict[str, Paired], word: str) -> list[list[Any]]:
    """Rows of the table; p-values of the classes of one score are corrected together."""
    corrected: dict[str, float] = {}
    for score in dict.fromkeys(map(score_of, results)):
        classes = [name for name in results if score_of(name) == score != name]
        corrected |= dict(zip(classes, holm([results[name].p for name in classes]), strict=True))
    rows = []
    for name, each in results.items():
        over = interval_over({"difference": each.difference}, word)
        numbers = (each.first, each.second, each.difference, each.pairs, over, each.p)
        rows.append([name, *numbers, corrected.get(name, each.p)])
    return rows


def _write_differences(path: Path, scores: Scores) -> None:
    """One row per case: both scores and their difference."""
    columns = [f"{name}{end}" for name in scores.values for end in ("_first", "_second", "_difference")]
    stacked = [np.stack([*values, values[1] - values[0]]) for values in scores.values.values()]
    cells = np.concatenate(stacked).T
    write_csv(
        path, [*scores.names, *columns], ([*key, *row] for key, row in zip(scores.keys, cells, strict=True)), form=".6g"
    )


def _by_owner(scores: Scores) -> dict[str, np.ndarray]:
    """Mean scores (2, patients) of the cases that both runs have scored."""
    owners, found = np.array(scores.owners), {}
    for name, values in scores.values.items():
        known = np.isfinite(values).all(0)
        means = [values[:, known & (owners == owner)].mean(1) for owner in dict.fromkeys(owners[known].tolist())]
        found[name] = np.array(means).reshape(-1, 2).T
    return found


def _names(first: Path, second: Path) -> tuple[str, str]:
    """Names of two runs: the last parts of their paths that differ."""
    for one, two in zip(reversed(first.resolve().parts), reversed(second.resolve().parts), strict=False):
        if one != two:
            return one, two
    return str(first), str(second)


def _parse(arguments: Sequence[str]) -> Namespace:
    parser = Parser(
        prog="python -m common.compare",
        description="Compares two runs on the same cases: paired differences with 95 % intervals, Wilcoxon's test.",
    )
    parser.add_argument(
        "first", metavar="A", help="output folder of an evaluation, a table of cases, or a variant of reproduce"
    )
    parser.add_argument("second", metavar="B", help="of the other run")
    parser.add_argument("--table", default="", help=f"by default the first that both have of {', '.join(CASES)}")
    parser.add_argument("--scores", nargs="+", default=[], help="columns of the table (default: all scores)")
    parser.add_argument("--names", nargs=2, help="of both runs (default: the names of their folders)")
    parser.add_argument("--output_dir", default="comparison", help="folder (default: %(default)s)")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str]) -> int:
    """Compare two runs.

    Args:
        arguments: of the command line, without the program's name.

    Returns:
        Exit code.
    """
    own = _parse(arguments)
    paths = (Path(own.first), Path(own.second))
    writable(own.output_dir)
    if Path(own.output_dir).resolve() in [path.resolve() for path in paths]:
        raise ValueError(f"--output_dir {own.output_dir} is the folder of a run, whose report it would replace.")
    compare(*paths, Path(own.output_dir), names=own.names, table=own.table, chosen=own.scores)
    return 0
