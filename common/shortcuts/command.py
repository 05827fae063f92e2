"""How well classes are told by what should not tell them.

``python -m common.shortcuts us_reverse_transfer /data/pocus`` writes ``shortcuts.csv``, ``shortcuts.png`` and
``report.html``. A network can learn such clues in place of the disease; where they reach as far as the network does,
its scores say little.
"""

from __future__ import annotations

import warnings
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ..datasets.ct.labels_table import table as labelled_images
from ..datasets.guards import Failed, refuse_failed, try_each
from ..datasets.splits import split
from ..datasets.ultrasound import diagnoses
from ..handlers.score_table import sums_over
from ..report import canvas
from ..report.html.scores import table, write_tables_page
from ..run.command import Parser
from ..run.progress import progress
from ..run.start import writable
from ..statistics import Estimate, interval_over
from ..tables import aligned, print_table, write_csv
from .clues import clues, folders
from .pictures import first_frame, lungs_alone, whole_picture

Case = Mapping[str, Any]
FILES = ("shortcuts.csv", "shortcuts.png", "report.html")
STRENGTH = 1e-3  # inverse of the penalty on weights: there are more numbers than patients


SOURCES: dict[str, Callable[[str], list[dict[str, Any]]]] = {
    "us_reverse_transfer": diagnoses,
    "ct_weak_gan": lambda root: labelled_images(Path(root)),
}
PICTURES = {"us_reverse_transfer": first_frame, "ct_weak_gan": whole_picture}
PREPARED = {"ct_weak_gan": lungs_alone}


def shortcuts(
    bundle: str, dataset_dir: str, output: Path, folds: int = 3, seed: int = 0, prepared: bool = False
) -> dict[str, Estimate]:
    """Tell the classes by each clue, in cross-validation by patient, and write table, picture and page.

    Args:
        bundle: whose data are read: ``us_reverse_transfer``, or ``ct_weak_gan`` with a ``labels.csv``.
        dataset_dir: folder of the data.
        output: folder of the results.
        folds: parts that are held out in turn.
        seed: of the draw.
        prepared: look at what the network gets, see ``common.shortcuts.pictures.lungs_alone``.

    Returns:
        Balanced accuracy (mean recall of the classes) by clue.

    Raises:
        FileNotFoundError, ValueError: for data that cannot be used.

    Example:
        >>> shortcuts("us_reverse_transfer", "/data/pocus", Path("shortcuts"))["border"].value
        0.45
    """
    pictures: Mapping[str, Callable[[Case], np.ndarray | None]] = PREPARED if prepared else PICTURES
    if bundle not in pictures:
        raise ValueError(f"--prepared is for {', '.join(PREPARED)}, got {bundle}. Leave it out.")
    cases = SOURCES[bundle](dataset_dir)
    if not cases:
        raise FileNotFoundError(f"{dataset_dir} holds no images with labels that {bundle} reads. Give their folder.")

    def clues_of(case: Case) -> dict[str, np.ndarray]:
        picture = pictures[bundle](case)
        return {} if picture is None else clues(picture)

    read = try_each(clues_of, cases, lambda case: case)
    found = list(progress(read, desc="Reading", total=len(cases), unit="file"))
    refuse_failed(found, len(cases), "files")
    looked_at = [(case, each) for case, each in zip(cases, found, strict=True) if each and not isinstance(each, Failed)]
    without = len(cases) - len(looked_at)
    if not looked_at:
        raise ValueError(f"{dataset_dir}: no lung is found in any of {len(cases)} files. Leave out --prepared.")
    cases, known = [case for case, _ in looked_at], [each for _, each in looked_at]
    numbers = {name: np.stack([each[name] for each in known]) for name in known[0]}
    names = sorted({str(case["label"]) for case in cases})
    truth = np.array([names.index(str(case["label"])) for case in cases])
    places = folders(cases)
    if len({*map(tuple, places)}) < len({(*place, label) for place, label in zip(places, truth, strict=True)}):
        numbers["folder"] = places  # else each class has folders of its own, as in many collections
    grouped = [{**case, "position": position} for position, case in enumerate(cases)]
    kind = "patient" if all(case["patient"] for case in cases) else "paper"
    parts = [split(grouped, kind, fold, folds, seed, "label") for fold in range(folds)]
    one_hot = np.eye(len(names))
    sums = sums_over([str(case["case"]) for case in cases], [case["patient"] or "" for case in cases], "files", "files")
    for name, values in numbers.items():
        predicted = np.zeros(len(cases), int)
        for part in parts:
            learned, held_out = ([case["position"] for case in part[side]] for side in ("training", "validation"))
            predicted[held_out] = _told(values[learned], truth[learned], values[held_out])
        sums.add(name, "balanced_accuracy", one_hot[truth] * one_hot[predicted], one_hot[truth])
    scores = {name: estimate for (name, _), estimate in sums.estimates().items()}
    rows = [[name, each, interval_over({"": each}, sums.word)] for name, each in scores.items()]
    write_csv(output / FILES[0], ["clue", "balanced_accuracy", "interval_over"], rows)
    _draw(output / FILES[1], scores, 1 / len(names), dataset_dir)
    line = (
        f"Mean recall of {', '.join(names)}; chance is {1 / len(names):.3f}. Logistic regression, {folds} folds by "
        f"{'patient' if kind == 'patient' else 'file: no patient is named'}. Data: {dataset_dir}."
    )
    line += f" {without} files in which no lung is found are left out." if without else ""
    write_tables_page(output, "Shortcuts", [table(output / FILES[0])], [output / FILES[1]], [line])
    print_table(aligned(["clue", "balanced accuracy", "interval over"], rows), output, *FILES, note=line)
    return scores


def _told(values: np.ndarray, truth: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Classes of other pictures by logistic regression; classes count the same."""
    model = make_pipeline(StandardScaler(), LogisticRegression(C=STRENGTH, class_weight="balanced", max_iter=1000))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        predicted: np.ndarray = model.fit(values, truth).predict(others)
    return predicted


def _draw(path: Path, scores: Mapping[str, Estimate], chance: float, data: str) -> None:
    """Draw a bar for each clue, with its interval."""
    figure = canvas.new_figure(760, 460)
    canvas.write_heading(figure, "Classes told by what should not tell them", data)
    axes = canvas.add_plot(figure, 70, 92, 640, 290, "Balanced accuracy", "")
    for number, each in enumerate(scores.values()):
        axes.bar(number, each.value, 0.6, color=canvas.line_colour(0))
        axes.plot([number, number], [each.low, each.high], color=canvas.TEXT, lw=1.5)
    axes.axhline(chance, color=canvas.FAINT, ls="--", lw=1, label="chance")
    axes.set_xticks(range(len(scores)), list(scores))
    axes.set_ylim(0, 1)
    axes.legend(loc="upper right", **canvas.LEGEND_IN_PLOT)
    canvas.save(figure, path)


def _parse(arguments: Sequence[str]) -> Namespace:
    parser = Parser(prog="python -m common.shortcuts", description=__doc__.split("\n", 1)[0])
    parser.add_argument("bundle", choices=SOURCES, help="whose data are read")
    parser.add_argument("dataset_dir", help="folder of the data")
    parser.add_argument("--folds", type=int, default=3, help="parts that are held out in turn (default: %(default)s)")
    parser.add_argument(
        "--prepared",
        action="store_true",
        help="ct_weak_gan: look at the lungs alone, cropped and in one window, as its shipped.yaml trains on them",
    )
    parser.add_argument("--output_dir", default="shortcuts", help="folder (default: %(default)s)")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str]) -> int:
    """Tell the classes by each clue.

    Args:
        arguments: of the command line, without the program's name.

    Returns:
        Exit code.
    """
    own = _parse(arguments)
    writable(own.output_dir)
    shortcuts(own.bundle, own.dataset_dir, Path(own.output_dir), own.folds, prepared=own.prepared)
    return 0
