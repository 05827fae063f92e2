"""Labels ground-glass in a folder of chest CTs without any annotation, as training data for DRSegUNet.

``python -m common.self_learning.pseudo_labels --dataset_dir /data/scans --output_dir out`` takes two slices of each
volume and labels them by threshold, k-means and morphology. Training reads the folder with ``--dataset_dir out``.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from monai.transforms import Compose, Orientationd
from nibabel.affines import voxel_sizes

from ..datasets.ct.folder import inference_cases
from ..datasets.inference import ScanDataset
from ..files import make_names_unique
from ..report.mask_files import save_volume
from ..report.styles import class_styles
from ..run.command import Parser, run_command
from ..run.start import writable
from ..tables import GrowingTable, read_csv
from ..transforms.ct import LoadScand
from .clusters import ClustersInLungd
from .lungs import LungByThresholdd
from .pseudo_label_figure import draw_pseudo_labels
from .transforms import MiddleSlicesd, OpenAndCloseLesiond

METADATA = Path(__file__).resolve().parents[2] / "bundles" / "ct_drsegunet" / "configs" / "metadata.json"
CLASSES = ("background", "lung", "ground-glass")  # in the order of the clusters
FOLDERS = {"rp_im": "image", "rp_msk": "label", "rp_lung_msk": "lung"}  # the layout of the nine Radiopaedia volumes
COLUMNS = (
    *("case", "slice", "lung_mm2", "ground_glass_mm2", "share_of_lung"),
    *("background_hu", "lung_hu", "ground_glass_hu"),  # means of the clusters
)


def pseudo_labelling(outside: float = 0.0, line_length: float = 8, disk_radius: int = 6, seed: int = 0) -> Compose:
    """All steps from a case's files to its label, as one transform; see ``common.self_learning.transforms``.

    Args:
        outside: HU that pixels outside the lung receive for k-means.
        line_length: length of the opening's line, in pixels.
        disk_radius: radius of the closing's disk, in pixels.
        seed: of k-means.

    Example:
        >>> item = pseudo_labelling()({"case": "patient_1", "image": "patient_1.nii.gz"})
        >>> item["label"].shape
        torch.Size([1, 512, 512, 2])
    """
    return Compose(
        [
            LoadScand(keys="image"),
            Orientationd(keys="image", axcodes="LPS", labels=None),
            MiddleSlicesd(keys="image"),
            LungByThresholdd(keys="image"),
            ClustersInLungd(keys="image", outside=outside, seed=seed),
            OpenAndCloseLesiond(keys="clusters", line_length=line_length, disk_radius=disk_radius),
        ]
    )


def save_case(item: Mapping[Any, Any], output_dir: Path) -> None:
    """Write slices, label (0, 1) and lung (0, 1) as volumes of a few slices: ``rp_im/<case>.nii.gz`` and so on."""
    for folder, key in FOLDERS.items():
        values = item[key][0].numpy().astype(np.float32 if key == "image" else np.uint8)
        save_volume(output_dir / folder / f"{item['case']}.nii.gz", values, np.asarray(item["image"].affine))


def table_rows(item: Mapping[Any, Any]) -> list[dict[str, Any]]:
    """Rows of ``pseudo_labels.csv``, one per slice; see ``COLUMNS``."""
    pixel_mm2 = float(np.prod(voxel_sizes(np.asarray(item["image"].affine))[:2]))
    rows = []
    for index, number in enumerate(item["slices"]):
        lung, lesion = (np.count_nonzero(item[key][0, ..., index]) for key in ("lung", "label"))
        areas = [f"{pixels * pixel_mm2:.1f}" for pixels in (lung, lesion)]
        centres = [f"{centre:.1f}" for centre in item["centres"][index]]
        cells = [item["case"], number, *areas, f"{lesion / lung:.4f}", *centres]
        rows.append(dict(zip(COLUMNS, cells, strict=True)))
    return rows


def name_for_training(cases: list[dict[str, Any]]) -> None:
    """Name cases without folders, because training does not read nested folders; changed in place."""
    for case in cases:
        case["case"] = case["case"].replace("/", "_")
    make_names_unique(cases)


def label_cases(
    cases: Sequence[Mapping[str, Any]],
    output_dir: Path,
    labelling: Compose,
    metadata: str | Path = METADATA,
    resume: bool = False,
) -> ScanDataset:
    """Label volumes: slices, label and lung of each, a figure, and ``pseudo_labels.csv`` of all.

    Args:
        cases: from ``common.datasets.ct.folder.inference_cases``, named by ``name_for_training``.
        output_dir: folder to write.
        labelling: from ``pseudo_labelling``.
        metadata: ``metadata.json`` of a bundle, for its colours.
        resume: leave out cases that an earlier call with the same settings has labelled.

    Returns:
        The dataset that was processed, with its ``failures``.
    """
    names = {str(case["case"]) for case in cases}
    path, kept = output_dir / "pseudo_labels.csv", {}
    if resume and path.is_file():
        kept = {name: rows for name, rows in _labelled(path, output_dir).items() if name in names}
    dataset = ScanDataset([case for case in cases if case["case"] not in kept], labelling)
    done = len(kept)
    table = GrowingTable(path, COLUMNS)
    table.append(*(row for rows in kept.values() for row in rows))
    for done, item in enumerate(dataset, start=len(kept) + 1):
        save_case(item, output_dir)
        draw(item, output_dir / f"{item['case']}_pseudo_labels.png", metadata)
        rows = table_rows(item)
        table.append(*rows)
        found = " and ".join(f"{float(row['share_of_lung']):.1%} of slice {row['slice']}" for row in rows)
        print(f"[{done + len(dataset.failures)}/{len(cases)}] {item['case']}: ground-glass in {found}", flush=True)
    print(f"{done} of {len(cases)} volumes labelled, in {output_dir}: rp_im, rp_msk, rp_lung_msk, pseudo_labels.csv")
    return dataset


def _labelled(path: Path, output_dir: Path) -> dict[str, list[dict[str, str]]]:
    """Rows of the cases that are complete in a table, and whose files exist."""
    found: dict[str, list[dict[str, str]]] = {}
    for row in read_csv(path):
        if list(row) == list(COLUMNS) and None not in row.values():  # an interrupted run may end within a row
            found.setdefault(row["case"], []).append(row)
    count = max(map(len, found.values()), default=0)  # slices per case; the last case may lack one
    return {
        name: rows
        for name, rows in found.items()
        if len(rows) == count and all((output_dir / folder / f"{name}.nii.gz").is_file() for folder in FOLDERS)
    }


def draw(item: Mapping[Any, Any], path: Path, metadata: str | Path) -> None:
    """Draw the figure of a case."""
    x, y = voxel_sizes(np.asarray(item["image"].affine))[:2]
    image, lung, clusters, label = (item[key][0].numpy() for key in ("image", "lung", "clusters", "label"))
    styles, title, aspect = class_styles(metadata, CLASSES), str(item["case"]), float(y / x)
    draw_pseudo_labels(path, image, lung, clusters, label, item["centres"], item["slices"], styles, title, aspect)


def _parse(arguments: Sequence[str]) -> Namespace:
    parser = Parser(
        prog="python -m common.self_learning.pseudo_labels",
        description="Labels ground-glass in two slices of each chest CT of a folder, without any annotation.",
    )
    default = "default: %(default)s"
    parser.add_argument(
        "--dataset_dir", default="phantom_studies", help=f"folder of volumes in HU ({default}, synthetic ones)"
    )
    parser.add_argument("--output_dir", default="pseudo_labels", help=f"folder to write ({default})")
    parser.add_argument("--include", default="*", help="cases to take, for example 'CT-1/*'")
    parser.add_argument("--exclude", default="", help="cases to leave out, for example '*mask*,*segmentation*'")
    parser.add_argument(
        "--outside", type=float, default=0.0, help=f"HU of pixels outside the lung, for k-means ({default})"
    )
    parser.add_argument("--line_length", type=float, default=8, help=f"of the opening, in pixels ({default})")
    parser.add_argument("--disk_radius", type=int, default=6, help=f"of the closing, in pixels ({default})")
    parser.add_argument("--seed", type=int, default=0, help=f"of k-means ({default})")
    parser.add_argument("--metadata", default=METADATA, help="metadata.json of a bundle, for its colours")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str]) -> int:
    """Label the volumes of a folder: slices, label and lung of each, a figure, and ``pseudo_labels.csv`` of all.

    Args:
        arguments: of the command line, without the program's name.

    Returns:
        Exit code.

    Raises:
        FileNotFoundError: if the folder does not exist, or holds no scans.
        ValueError: for a mistake on the command line; or, when all other cases are labelled, naming those that could
            not be.
    """
    own = _parse(arguments)
    output_dir = writable(own.output_dir)
    cases = inference_cases(own.dataset_dir, own.include, own.exclude)
    name_for_training(cases)
    if own.dataset_dir in ("phantom", "phantom_studies"):
        print("Synthetic phantoms, not patient data.")
    labelling = pseudo_labelling(own.outside, own.line_length, own.disk_radius, own.seed)
    dataset = label_cases(cases, output_dir, labelling, own.metadata)
    dataset.finish({})
    return 0


if __name__ == "__main__":
    run_command(main)
