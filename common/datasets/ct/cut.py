"""Cut scans into labelled images, to train with image-level labels on your own sources.

``python -m common.datasets.ct.cut --dataset_dir scans --label 0 --source hospital --output_dir mix`` adds the slices
with lung of all scans in a folder to ``mix/labels.csv``, which ``--source table`` reads. Run it once per source.
"""

from __future__ import annotations

import csv
from argparse import Namespace
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from monai.transforms import Compose, Orientationd, ScaleIntensityRanged
from PIL import Image
from scipy.ndimage import binary_dilation

from ...files import complete_file
from ...lung_network.methods import LUNGS, THRESHOLD
from ...readers.scan import UPRIGHT
from ...run.command import Parser, run_command
from ...run.progress import progress
from ...spreadsheets import read_rows
from ...transforms.ct import LoadScand, WindowCTd
from ...transforms.masks import LesionMaskd, LungMaskd
from ..inference import ScanDataset
from .folder import inference_cases
from .labels_table import TABLE

COLUMNS = ("image", "label", "patient", "lung", "source", "mask")
KEYS = ("image", "label", "lung")
LEAST_LUNG = 0.02  # share of a picture; less may vanish where training makes pictures small
PATIENTS = ("scan", "folder", "unknown")


def cut(
    scans: Iterable[Mapping[str, Any]],
    output_dir: str | Path,
    label: int,
    source: str,
    window: Sequence[float] = (-1350, 150),
    gap: int = 0,
    patients: str = "scan",
) -> int:
    """Cut scans into upright 8-bit images with lung masks beside them, and list them in ``labels.csv``.

    A slice is taken if at least 2 % of it is lung. With lesion masks, label 0 takes slices without lesions and label 1
    slices with lesions, whose masks are kept to test on. Slices of these scans that are already listed
    with this label are replaced.

    Args:
        scans: as ``datasets.inference.ScanDataset`` yields them: ``image``, HU or grey levels 0..255, ``lung``, and
            ``label`` if there is a lesion mask; (1, X, Y, Z) in LPS order.
        output_dir: receives ``images/<source>/``, ``lungs/<source>/``, ``masks/<source>/`` with values 0 and 1, and
            ``labels.csv``.
        label: of all slices: 0 normal, 1 with lesions.
        source: name of the source of the scans.
        window: HU that become grey 0 and 255, by default the usual lung window. Images keep their grey levels, whose
            window no file records: it is an assumption that they have the same window as the volumes.
        gap: in slices; with label 0, slices this near to one with a lesion are left out.
        patients: ``scan``: each scan is a patient; ``folder``: all scans of a folder are one; or ``unknown``.

    Returns:
        The number of slices.

    Raises:
        ValueError: for arguments out of range, or a table with other columns.
    """
    if label not in (0, 1) or gap < 0 or patients not in PATIENTS or not window[0] < window[1]:
        raise ValueError(
            f"The label is 0 or 1, the gap 0 slices or more, patients one of {', '.join(PATIENTS)}, the window from "
            f"low to high; got {label}, {gap}, {patients!r}, {tuple(window)}."
        )
    if not source.strip() or PurePosixPath(source.replace("\\", "/")).name != source:
        raise ValueError(f"--source is a name, from which a folder is made, got {source!r}. Give one without / and \\.")
    root = Path(output_dir)
    listed = _listed(root / TABLE)
    grey = Compose(
        [
            WindowCTd("image", window),
            ScaleIntensityRanged("image", a_min=window[0], a_max=window[1], b_min=0, b_max=255),
        ]
    )
    count = 0
    for scan in scans:
        case, folder = scan["case"], PurePosixPath(scan["case"]).parent
        patient = {"scan": f"{source}/{case}", "folder": f"{source}/{folder}"}.get(patients, "")
        taken = _taken(scan, label, gap)
        start = f"images/{source}/{case}_"  # of slices that an earlier run took with this label, and this one may not
        listed = {
            name: row
            for name, row in listed.items()
            if not (row[1] == str(label) and name.startswith(start) and name[len(start) : -4].isdigit())
        }
        image = np.rint(np.asarray(grey(scan)["image"][0]))
        for index in taken:
            name = f"{source}/{case}_{index:03d}.png"
            _save(root / "images" / name, image[..., index])
            _save(root / "lungs" / name, 255 * np.asarray(scan["lung"][0, ..., index]))
            mask = f"masks/{name}" if label and "label" in scan else ""
            if mask:
                _save(root / mask, np.asarray(scan["label"][0, ..., index]))
            listed[f"images/{name}"] = (f"images/{name}", str(label), patient, f"lungs/{name}", source, mask)
        count += len(taken)
    with complete_file(root / TABLE) as part, part.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([COLUMNS, *listed.values()])
    return count


def _taken(scan: Mapping[str, Any], label: int, gap: int) -> list[int]:
    """Return the indices of the slices (1, X, Y, Z) that hold lung and fit the label."""
    taken = np.asarray(scan["lung"][0]).mean(axis=(0, 1)) >= LEAST_LUNG
    if "label" in scan:
        ill = np.asarray(scan["label"][0]).any(axis=(0, 1))
        taken &= ill if label else ~binary_dilation(ill, np.ones(2 * gap + 1))
    return [int(index) for index in np.flatnonzero(taken)]


def _save(path: Path, values: np.ndarray) -> None:
    """Write grey levels 0..255 (X, Y) as an upright image."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values.T.astype(np.uint8)).save(path)


def _listed(path: Path) -> dict[str, tuple[str, ...]]:
    """Read the rows of a table by their image; empty if there is no such file, ValueError for other columns."""
    if not path.is_file():
        return {}
    heading, *rows = [tuple(cells) for _, cells in read_rows(path, COLUMNS)] or [()]
    if heading != COLUMNS:
        raise ValueError(
            f"{path}: the columns are {','.join(COLUMNS)}, got {','.join(heading)}. Choose another --output_dir."
        )
    return {row[0]: row for row in rows}


def _parse(arguments: Sequence[str]) -> Namespace:
    parser = Parser(prog="python -m common.datasets.ct.cut", description=__doc__)
    add = parser.add_argument
    add("--dataset_dir", required=True, help="folder of scans of any format, or one file")
    add("--output_dir", required=True, help="folder for images/, lungs/, masks/ and labels.csv")
    add("--label", required=True, type=int, choices=(0, 1), help="label of the slices: 0 normal, 1 with lesions")
    add("--source", required=True, help="name of the source of the scans")
    add(
        "--lung_masks",
        default="",
        help="folder of lung masks with the same file names (default: the lung is found in the scan)",
    )
    add("--lungs", choices=LUNGS, default=THRESHOLD, help="lung of scans without a mask (default: %(default)s)")
    add(
        "--lesion_masks",
        default="",
        help="folder of lesion masks with the same file names, to choose slices and to test",
    )
    add("--gap", type=int, default=0, help="slices beside a lesion to leave out (default: %(default)s)")
    add("--patients", choices=PATIENTS, default="scan", help="what counts as a patient (default: each %(default)s)")
    add("--include", default="*", help="scans to take, such as 'CT-0/*' (default: all)")
    add("--exclude", default="", help="scans to leave out, such as '*mask*'")
    add("--intensity", default="HU", help="intensities of volumes, HU or 8bit (default: %(default)s)")
    add("--picture_axes", default=UPRIGHT, help="orientation of images (default: %(default)s, upright; MedSeg's: LP)")
    add("--window", nargs=2, type=float, default=(-1350, 150), help="HU of grey 0 and 255 (default: -1350 150)")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str]) -> int:
    """Run the command. Scans that cannot be read are named when the others are done.

    Args:
        arguments: without the program's name.

    Returns:
        Exit code.

    Raises:
        FileNotFoundError, ValueError: for files that cannot be used, or scans without the requested lesion masks.
    """
    own = _parse(arguments)
    partners = {"lung": own.lung_masks, "label": own.lesion_masks}
    scans = inference_cases(own.dataset_dir, own.include, own.exclude, own.intensity, own.picture_axes, partners)
    bare = [scan["case"] for scan in scans if own.lesion_masks and "label" not in scan]
    if bare:
        raise ValueError(f"Each scan needs its mask in {own.lesion_masks}, {len(bare)} have none: {', '.join(bare)}.")
    upright = Compose(
        [
            LoadScand(KEYS),
            Orientationd(KEYS, axcodes="LPS", labels=None, allow_missing_keys=True),
            LesionMaskd("label", allow_missing_keys=True),
            LungMaskd("lung", lungs=own.lungs),
        ]
    )
    dataset = ScanDataset(scans, upright)
    bar = progress(dataset, desc="Cutting", total=len(scans), unit="scan")
    count = cut(bar, own.output_dir, own.label, own.source, own.window, own.gap, own.patients)
    print(f"{own.source}: {count} slices of label {own.label} from {len(scans)} scans, in {own.output_dir}/{TABLE}")
    dataset.finish({})
    return 0


if __name__ == "__main__":
    run_command(main)
