"""A bundle in a notebook: ``load`` gives a model, which segments arrays, tensors and files as inference does.

All that happens between the scan and the mask is what ``inference.yaml`` says, so results equal the command line's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.bundle import ConfigParser
from monai.data import MetaTensor, decollate_batch, list_data_collate
from monai.transforms import Compose
from nibabel import orientations

from .outliers.changes import CHANGES, changed
from .outliers.monitor import Verdict
from .reliability.measures import LESION_PROBABILITY, STEPS
from .report.case_report import CaseReport, label_map
from .report.trust import JudgeErrorsd, verdict_of
from .run.bundle_folder import bundle_folder, inference_config, modality_of, read_metadata
from .run.errors import origin, ours
from .run.overrides import check_settings
from .run.ranges import check_ranges
from .run.recorded import apply_record
from .settings import check_names
from .transfer import load_weights

NAME = "array"  # of a case that is in no file


@dataclass(frozen=True)
class Segmentation:
    """What a model found in a scan, an image or a clip.

    Args:
        mask: values as ``metadata.json`` lists them, uint8: (X, Y, Z) on the scan's own grid; (rows, columns) of an
            ultrasound image; (frames, rows, columns) of a clip.
        affine: of a CT mask, voxel index to mm, RAS, (4, 4); None for ultrasound.
        volumes: of CT, the columns of ``lesions.csv``: ml of each class, share of the lung, severity, and how large
            their errors are likely to be. Of ultrasound,
            those of ``cases.csv``: shares of the image, means over the frames of a clip; and of a network that
            diagnoses, the diagnosis, its probabilities, and what drove it.
        classes: value in the mask by class; 0 is background.
        probabilities: of a model that was loaded with ``probabilities=True``: float32 (classes, X, Y, Z) in the
            network's order of classes; (classes, rows, columns) or (frames, classes, rows, columns) of ultrasound.
        trust: ``usual``, or ``unusual`` with the reason, as ``docs/trust.md`` explains; an empty one of weights that do
            not know what is usual.
    """

    mask: np.ndarray
    affine: np.ndarray | None
    volumes: dict[str, Any]
    classes: dict[str, int] = field(default_factory=dict)
    probabilities: np.ndarray | None = None
    trust: Verdict = field(default_factory=Verdict)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """The mask, so that a segmentation can be given to NumPy and to plotting functions."""
        return np.array(self.mask, dtype=dtype, copy=copy)


class Model:
    """A bundle's network with all that its inference does before and after it. ``load`` makes it.

    ``names`` are its classes in channel order, ``classes`` the value in masks of each.

    Args:
        parser: of the bundle's ``inference.yaml``, with all settings.
        metadata: content of its ``metadata.json``.
    """

    def __init__(self, parser: ConfigParser, metadata: Mapping[str, Any]) -> None:
        self.parser = parser
        self.classes = {label["name"]: int(label["value"]) for label in metadata["labels"]}
        self.is_ultrasound = modality_of(metadata) != "CT"
        part, listing = parser.get_parsed_content, parser["datalist"]
        parser["datalist"] = []  # files come with each call
        load_weights(part("model"), part("weights"), "weights=")  # before a new setting makes the parser start again
        self.dataset = part("dataset")
        self.device, self.names = torch.device(part("device")), list(part("names"))
        self.network = part("evaluator::network").to(self.device).eval()
        self.monitor: Any = part("monitor") if "monitor" in parser else None
        self.inferer = part("inferer")
        steps = part("postprocessing").transforms
        self.postprocessing = Compose([step for step in steps if not isinstance(step, CaseReport)])
        parser["datalist"] = listing
        self.report: Any = next(step for step in reversed(steps) if isinstance(step, CaseReport))

    @property
    def preprocessing(self) -> Compose:
        """What is done with a scan, or with a frame of a clip, before the network gets it."""
        return self.dataset.transform  # type: ignore[no-any-return]

    @preprocessing.setter
    def preprocessing(self, transform: Compose) -> None:
        self.dataset.transform = transform

    def __call__(
        self,
        image: Any,
        spacing: Sequence[float] | None = None,
        axes: str = "LPS",
        affine: Any = None,
        **choices: Any,
    ) -> Segmentation:
        """Segment one scan, image or clip.

        Args:
            image: a path, as ``--dataset_dir`` takes it, which holds one case; or of CT a volume in HU, (X, Y, Z): an
                array with ``spacing`` or ``affine``, or a MONAI ``MetaTensor`` (1, X, Y, Z) with its affine; or of
                ultrasound a frame, (rows, columns), grey levels 0..255.
            spacing: of an array, size of a voxel in mm along X, Y, Z.
            axes: of an array with ``spacing``: the directions in which X, Y, Z run: L(eft), P(osterior), S(uperior),
                or their opposites. LPS is DICOM's. SimpleITK's arrays are (Z, Y, X): transpose them first.
            affine: of an array, in place of ``spacing``: voxel index to mm, RAS, (4, 4), as nibabel gives it.
            choices: for files, choices of ``inference.yaml`` such as ``series="all"`` or ``intensity="8bit"``.

        Raises:
            FileNotFoundError: when there is no such file.
            ValueError: when it cannot be read or is not one case, with the reason that inference gives.

        Example:
            >>> found = load("bundles/ct_drsegunet")("patient_7.nii.gz")
            >>> found.volumes["severity"]
        """
        if choices and not isinstance(image, (str, Path)):
            raise ValueError(
                f"{', '.join(choices)}: for files only, got {type(image).__name__}. Leave them out: an array is in HU "
                "(CT) or grey levels 0..255 (ultrasound). Save windowed CT as an image, and give its path."
            )
        if isinstance(image, (str, Path)) and not Path(image).exists() and not str(image).startswith("phantom"):
            raise FileNotFoundError(f"No such file or folder: {image}.")
        try:
            case = self._file(image, choices) if isinstance(image, (str, Path)) else None
            if self.is_ultrasound:
                return self._clip(case or {"case": NAME, "image": _frame(image)})
            scan = case or {"case": NAME, "image": _scan(image, spacing, axes, affine), "intensity": "HU"}
            (item,) = self._segment(list_data_collate([self.preprocessing(scan)]))
        except Exception as error:
            cause = origin(error)  # MONAI wraps what a transform raises
            if ours(cause):
                raise type(cause)(str(cause)) from None
            raise
        measured = self.report.measure(item, "pred")
        affine = np.asarray(item["pred"].affine)
        return Segmentation(
            label_map(item["pred"]),
            affine,
            measured.burden | measured.errors,
            self.classes,
            _probabilities(item),
            verdict_of(item),
        )

    def _file(self, path: str | Path, choices: Mapping[str, Any]) -> dict[str, Any]:
        """The case that a path holds."""
        cases = self.cases(path, **choices)
        if len(cases) != 1:
            some = ", ".join(str(case["case"]) for case in cases[:5])
            raise ValueError(
                f"{path}: a model takes one case at a time, got {len(cases)} ({some}, ...). Give the path of one, or "
                "choose with include; the command line takes whole folders."
            )
        if "error" in cases[0]:
            raise ValueError(str(cases[0]["error"]))
        return dict(cases[0])

    def cases(self, path: str | Path, **choices: Any) -> list[dict[str, Any]]:
        """The cases that a folder, a file or a table holds, as inference lists them.

        Args:
            path: as ``--dataset_dir`` takes it.
            choices: choices of ``inference.yaml`` such as ``series="all"`` or ``intensity="8bit"``.
        """
        settings = {"dataset_dir": str(path), "output_dir": ""}
        listed = {str(value).removeprefix("@") for value in self.parser["datalist"].values()}
        check_names("choice", choices, sorted(listed & self.parser.get().keys() - settings.keys()), "model")
        settings |= choices
        before = {name: self.parser[name] for name in settings}
        try:
            self.parser.update(settings)
            return [dict(case) for case in self.parser.get_parsed_content("datalist")]
        finally:
            self.parser.update(before)

    def features(self, case: dict[str, Any], with_changes: bool = False) -> dict[str, np.ndarray]:
        """What the encoder makes of a case, by part of ``common.outliers.detector``: (slices or frames, features).

        Args:
            case: from ``cases``.
            with_changes: of the same with each of ``common.outliers.changes``, too, the part by which that is told.
        """
        if self.is_ultrasound:
            batches = self.dataset.items(case)
        else:
            batches = iter([list_data_collate([self.preprocessing(case)])])
        images = [batch["image"].to(self.device) for batch in batches]
        self.monitor.take()  # what a case that failed has left
        call, before = self.inferer.call, self.inferer.call.mirror
        call.mirror = False  # the second pass is not watched
        found: dict[str, np.ndarray] = {}
        try:
            with torch.inference_mode():
                for image in images:
                    self.inferer(image, self.network)
                found |= self.monitor.take()
                for name, change in CHANGES.items() if with_changes else ():
                    for image in images:
                        self.inferer(image, lambda slices, apply=change.apply: self.network(apply(slices)))
                    found[changed(name)] = self.monitor.take()[change.part]
        finally:
            call.mirror = before
        return found

    def lesions(self, case: dict[str, Any]) -> tuple[MetaTensor, MetaTensor, float | None]:
        """What a CT bundle finds in a case, before it judges how large the errors are.

        Args:
            case: from ``cases``.

        Returns:
            Mask, integers (1, X, Y, Z) on the scan's own grid; probability of lesion, uint8 in steps of 1/255, same
            shape; and the agreement with the mirror images, see ``common.reliability.measures.Measures``.
        """
        steps = self.postprocessing.transforms
        place = next(place for place, step in enumerate(steps) if isinstance(step, JudgeErrorsd))
        (item,) = self._segment(list_data_collate([self.preprocessing(case)]), Compose(steps[:place]))
        return item["pred"], item[LESION_PROBABILITY], steps[place].reliability.agreement()

    def _segment(self, batch: dict[str, Any], postprocessing: Compose | None = None) -> list[dict[str, Any]]:
        """Items of a batch, with the mask under ``pred`` on the grid of their image."""
        with torch.inference_mode():
            batch["pred"] = self.inferer(batch["image"].to(self.device), self.network)
        batch["image"] = batch["image"].to(self.device)
        return [(postprocessing or self.postprocessing)(item) for item in decollate_batch(batch)]

    def _clip(self, case: dict[str, Any]) -> Segmentation:
        """All frames of an image or clip."""
        if isinstance(case["image"], np.ndarray):
            batches = [list_data_collate([self.preprocessing({**case, "frame": 0, "seconds": 0.0, "last": True})])]
        else:
            batches = self.dataset.items(case)
        items = [item for batch in batches for item in self._segment(batch)]
        verdict = Verdict() if self.monitor is None else self.monitor.verdict()
        masks = [label_map(item["pred"]) for item in items]
        found = self.report.answered(self.report.summary([item["measures"] for item in items]), verdict)
        maps = [each for each in map(_probabilities, items) if each is not None]
        probabilities = _frames(maps) if maps else None
        return Segmentation(_frames(masks), None, found, self.classes, probabilities, verdict)


def load(bundle: str | Path, weights: str | Path | Sequence[str | Path] | None = None, **settings: Any) -> Model:
    """Load a bundle's network with its weights, ready to segment. Their record gives the settings of their training.

    Args:
        bundle: folder of a bundle, such as ``bundles/ct_drsegunet``, or of an unpacked package; or a bundle's name.
        weights: a checkpoint, or a list of them for an ensemble; by default ``models/model.pt`` of the bundle.
        settings: other options of ``inference.yaml``, such as ``probabilities=True`` or ``device="cuda:1"``.

    Raises:
        FileNotFoundError: when there is no such bundle, or it has no weights yet.
        ValueError: for a setting that the bundle does not have, or that contradicts the record of the weights,
            or weights of another network.

    Example:
        >>> from common import load
        >>> model = load("bundles/ct_drsegunet")
        >>> mask = model(array, spacing=(0.7, 0.7, 5.0)).mask
    """
    root = bundle_folder(bundle)
    config = inference_config(root)
    check_settings(settings, [str(config)], "load")
    check_ranges(settings, "load: ")
    parser = ConfigParser()
    parser.read_config(str(config))
    chosen = {"isolated": False, **settings, "bundle_root": str(root), "output_dir": ""}
    if weights is not None:
        chosen["weights"] = str(weights) if isinstance(weights, (str, Path)) else [str(each) for each in weights]
    parser.update(chosen)
    apply_record(parser, settings)
    return Model(parser, read_metadata(root))


def _probabilities(item: Mapping[str, Any]) -> np.ndarray | None:
    """The probabilities of a case, if its bundle was asked for them."""
    if "probability" not in item:
        return None
    values = item["probability"].float().cpu().numpy()
    return values / STEPS if item["probability"].dtype == torch.uint8 else values


def _frames(arrays: Sequence[np.ndarray]) -> np.ndarray:
    """Frames of a clip as one array; an image alone stays as it is."""
    return arrays[0] if len(arrays) == 1 else np.stack(arrays)


def _scan(image: Any, spacing: Sequence[float] | None, axes: str, affine: Any) -> MetaTensor:
    """A volume in HU with its affine; preprocessing gives it the form of one that was read from a file."""
    if isinstance(image, MetaTensor):
        values, affine = image.as_tensor(), image.affine if affine is None else affine
    else:
        array = np.asarray(image)
        if array.dtype.kind not in "iuf":
            raise ValueError(f"A CT scan is numbers in HU, got {array.dtype}. Convert it.")
        values = torch.from_numpy(np.array(array, np.float32))  # a copy: PyTorch takes no reversed axes
    if (affine is None) == (spacing is None):
        raise ValueError("An array needs its spacing in mm, or its affine, and not both. Give one of them.")
    if affine is None:
        affine = _affine(spacing or (), axes)
    matrix = torch.as_tensor(np.asarray(affine, float))
    return MetaTensor(values, affine=matrix, meta={"filename_or_obj": NAME, "original_affine": matrix.clone()})


def _affine(spacing: Sequence[float], axes: str) -> np.ndarray:
    """The RAS affine (4, 4) of an array whose axes run in these directions."""
    codes = tuple(axes.upper())
    sizes = np.ravel(np.asarray(spacing, float))
    if len(sizes) != 3 or not (np.isfinite(sizes) & (sizes > 0)).all():
        raise ValueError(f"The spacing is three sizes of a voxel in mm, along X, Y, Z, got {spacing!r}.")
    try:
        turn = orientations.axcodes2ornt(codes)
        if len(codes) != 3 or np.isnan(turn).any() or len(set(turn[:, 0])) != 3:
            raise ValueError
    except ValueError:
        raise ValueError(f"Axes are three letters such as LPS, RAS or LPI, one per direction, got {axes!r}.") from None
    affine = np.zeros((4, 4))
    affine[turn[:, 0].astype(int), range(3)] = turn[:, 1] * sizes
    affine[3, 3] = 1
    return affine


def _frame(image: Any) -> np.ndarray:
    """An ultrasound frame as uint8 (rows, columns)."""
    pixels = np.asarray(image)
    if pixels.ndim != 2 or pixels.dtype.kind not in "ui" or pixels.min() < 0 or pixels.max() > 255:
        raise ValueError(
            f"An ultrasound frame is (rows, columns) of whole grey levels 0..255, got {pixels.dtype} of the shape "
            f"{pixels.shape}. Convert it, or give the path of its file."
        )
    return pixels.astype(np.uint8)
