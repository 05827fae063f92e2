"""Masks as DICOM segmentations (SEG), on the slices of their DICOM series."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from monai.config import KeysCollection
from pydicom.uid import generate_uid

from ..files import complete_file, sha256
from ..readers.library_notes import collected
from ..readers.volume import LPS_TO_RAS
from ..run.model_record import weights_files
from ..settings import as_list, check_names
from .case_report import SEGMENTATION, CaseReport, label_map
from .styles import ClassStyle

OUTPUTS = ("nifti", "seg")
KINDS = ("binary", "labelmap")  # of SEG; the latter is supplement 243 to DICOM, which few viewers show yet
NEAREST = 0.5  # slices, by which a slice may be off the mask's grid, as unevenly spaced ones are
MAKER = "COVID lung bundles"
MAY_BE_EMPTY = (
    *("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "ReferringPhysicianName"),
    *("StudyID", "StudyDate", "StudyTime", "PositionReferenceIndicator"),
)


@dataclass(frozen=True)
class Algorithm:
    """What made a mask, as the object says it.

    Args:
        name: of the bundle.
        version: of the bundle.
        weights: SHA-256 of the weights, several in one.
    """

    name: str
    version: str
    weights: str


def source_planes(paths: Sequence[Path], affine: np.ndarray) -> tuple[list[pydicom.Dataset], list[int]]:
    """The slices of a series, and the index of the mask's plane that lies on each.

    Args:
        paths: files of one series; of slices at one position, the first counts.
        affine: of the mask, voxel index (column, row, slice) to mm, RAS.

    Returns:
        Datasets without pixels, in the order of the mask's planes; a single one for an enhanced file, with the planes
        in the order of its frames.

    Raises:
        ValueError: if slices name no position, or lie off the mask's grid.
    """
    slices = [_complete(pydicom.dcmread(path, stop_before_pixels=True, force=True)) for path in paths]
    to_index = np.linalg.inv(LPS_TO_RAS @ affine)
    if len(slices) == 1 and "PerFrameFunctionalGroupsSequence" in slices[0]:
        frames = slices[0].PerFrameFunctionalGroupsSequence
        positions = [frame.PlanePositionSequence[0].get("ImagePositionPatient") for frame in frames]
        return slices, [_plane(position, to_index, str(paths[0])) for position in positions]
    found: dict[int, pydicom.Dataset] = {}
    for path, each in zip(paths, slices, strict=True):
        found.setdefault(_plane(each.get("ImagePositionPatient"), to_index, str(path)), each)
    planes = sorted(found)
    return [found[plane] for plane in planes], planes


def _complete(source: pydicom.Dataset) -> pydicom.Dataset:
    """Add elements that DICOM requires, possibly empty (type 2), and that anonymisers remove."""
    for keyword in MAY_BE_EMPTY:
        if keyword not in source:
            setattr(source, keyword, None)
    return source


def _plane(position: Any, to_index: np.ndarray, name: str) -> int:
    if position is None or len(position) != 3:
        raise ValueError(f"{name}: a segmentation needs the position of each slice, got none.")
    *inside, plane = to_index[:3] @ [*map(float, position), 1.0]
    if max(map(abs, inside)) > NEAREST or abs(plane - round(plane)) > NEAREST:
        raise ValueError(f"{name}: the slice lies off the mask's grid by {max(map(abs, inside)):.1f} pixels.")
    return round(plane)


def segmentation(
    mask: np.ndarray,
    affine: np.ndarray,
    paths: Sequence[Path],
    styles: Sequence[ClassStyle],
    algorithm: Algorithm,
    kind: str = "binary",
) -> pydicom.Dataset:
    """A DICOM segmentation of a mask: one segment for each class, on the slices of the series itself.

    Study, patient and frame of reference are the source's, and each plane refers to its source image. The UIDs are a
    function of the source, the weights and the mask, so that the same result is the same object.

    Args:
        mask: label map (columns, rows, slices).
        affine: voxel index to mm, RAS.
        paths: files of the series, or of an enhanced image.
        styles: classes of the mask with their codes; background is no segment.
        algorithm: what made the mask.
        kind: ``binary``, a plane for each segment and slice in which it is; or ``labelmap``, one for each slice.

    Raises:
        ValueError: for another kind, a class without a code, or slices that do not fit the mask.

    Example:
        >>> made = segmentation(mask, affine, sorted(Path("series").glob("*.dcm")), styles, algorithm)
        >>> made.save_as("mask.dcm")
    """
    import highdicom as hd  # here, because it takes a second to import and only DICOM needs it
    from pydicom.sr.codedict import codes

    check_names("kind of segmentation", [kind], KINDS)
    sources, planes = source_planes(paths, affine)
    shown = [style for style in styles if style.name != "background"]
    without = [style.name for style in shown if len(style.code) != 3]
    if without:
        raise ValueError(f"metadata.json has no code for {', '.join(without)}, which a DICOM segmentation needs.")
    made_by = hd.AlgorithmIdentificationSequence(
        name=algorithm.name,
        family=codes.DCM.ArtificialIntelligence,
        version=algorithm.version,
        source=MAKER,
        parameters={"weights SHA-256": algorithm.weights},
    )
    described = []
    for number, style in enumerate(shown, start=1):
        scheme, value, meaning = style.code
        described.append(
            hd.seg.SegmentDescription(
                segment_number=number,
                segment_label=style.name,
                segmented_property_category=(
                    codes.SCT.MorphologicallyAbnormalStructure if style.is_lesion else codes.SCT.AnatomicalStructure
                ),
                segmented_property_type=hd.sr.CodedConcept(value, scheme, meaning),
                algorithm_type=hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
                algorithm_identification=made_by,
                display_color=hd.color.CIELabColor.from_rgb(*style.colour),
            )
        )
    numbers = np.zeros(256, np.uint8)
    numbers[[style.value for style in shown]] = range(1, len(shown) + 1)
    first = sources[0]
    of = [str(first.SeriesInstanceUID), *(str(each.SOPInstanceUID) for each in sources)]
    pixels = np.stack([numbers[mask[..., plane]].T for plane in planes])
    of += [algorithm.name, algorithm.version, algorithm.weights, kind, hashlib.sha256(pixels.tobytes()).hexdigest()]
    made: pydicom.Dataset = hd.seg.Segmentation(
        source_images=sources,
        pixel_array=pixels,
        segmentation_type=kind.upper(),
        segment_descriptions=described,
        series_instance_uid=generate_uid(entropy_srcs=["series", *of]),
        series_number=_series_number(first),
        sop_instance_uid=generate_uid(entropy_srcs=["instance", *of]),
        instance_number=1,
        manufacturer=MAKER,
        manufacturer_model_name=algorithm.name,
        software_versions=algorithm.version,
        device_serial_number=algorithm.weights[:16],
        content_description=f"{algorithm.name}: {', '.join(style.name for style in shown)}"[:64],
        series_description=f"{algorithm.name} segmentation"[:64],
    )
    return made


def _series_number(source: pydicom.Dataset) -> int:
    """Number of a series that its viewers list after the source."""
    try:
        return int(source.get("SeriesNumber") or 0) * 100 + 90
    except (TypeError, ValueError):
        return 90


class SaveSegmentationd(CaseReport):
    """Save masks of DICOM cases as ``<case>_mask.dcm`` beside the NIfTI file, a DICOM segmentation.

    Cases of other formats have none. Where the series does not allow one, because its slices name no position, say, a
    note says so and the case goes on.

    Args:
        keys: integer masks (1, X, Y, Z) in the input's axis order, with its affine.
        output_dir: folder; cases keep their sub-folders.
        metadata: path of the bundle's ``metadata.json``, which has the codes of the classes.
        classes: names of the classes in the mask.
        cases: as ``common.datasets.ct.folder.inference_cases`` lists them, for the files of a series.
        weights: whose hash the object names.
        outputs: what is saved of a mask, some of ``OUTPUTS``; nothing is done without ``seg``.
        kind: see ``segmentation``.

    Raises:
        ValueError: for unknown ``outputs`` or another ``kind``.
    """

    def __init__(
        self,
        keys: KeysCollection,
        output_dir: str | Path,
        metadata: str | Path,
        classes: Sequence[str],
        cases: Sequence[Mapping[str, Any]],
        weights: str | Path | Sequence[str | Path],
        outputs: Sequence[str] = OUTPUTS,
        kind: str = "binary",
    ) -> None:
        super().__init__(keys, output_dir, metadata, classes)
        check_names("output", as_list(outputs), OUTPUTS)
        check_names("kind of segmentation", [kind], KINDS)
        self.wanted, self.kind = "seg" in as_list(outputs), kind
        self.files = {str(case["case"]): case["image"] for case in cases if case.get("kind") == "dicom"}
        self.weights, self.root = weights, Path(metadata).parent.parent
        self.about = json.loads(Path(metadata).read_text(encoding="utf-8"))
        self.algorithm: Algorithm | None = None

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Write the object, completely or not at all."""
        item = dict(data)
        case = str(item["case"])
        if not self.wanted or case not in self.files:
            return item
        if self.algorithm is None:
            hashes = "+".join(sha256(path) for path in weights_files(self.weights, several=True))
            self.algorithm = Algorithm(self.root.name, str(self.about["version"]), hashes)
        for key in self.keys:
            affine, mask = np.asarray(item[key].affine, float), label_map(item[key])
            try:
                with collected():  # what libraries say of the source's header
                    made = segmentation(mask, affine, self.files[case], self.styles, self.algorithm, self.kind)
            except Exception as error:  # highdicom raises several types on headers that lack what an object needs
                reason = " ".join(str(error).split())
                item["notes"] = "; ".join(filter(None, [item.get("notes"), f"no DICOM SEG: {reason}"]))
                continue
            with complete_file(self.path(item, SEGMENTATION)) as part:
                made.save_as(part)
        return item
