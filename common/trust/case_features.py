"""Features of the cases of several sources, and what is usual without some of their patients."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from monai.transforms import Compose, Orientationd

from ..datasets.table import patients_of
from ..files import image_files
from ..model import Model
from ..outliers.changes import PARTS
from ..outliers.detector import PARTS_OF_DATA, Detector, fit
from ..run.errors import origin
from ..run.progress import progress
from ..statistics import counted, parts_of
from ..transforms.ultrasound import LoadFramed
from .shifts import FRAME_SHIFTS, SHIFTS, Shift, Shiftd

logger = logging.getLogger(__name__)

SLICES = 32  # of a volume or a clip, evenly spaced, that are learned from


@dataclass
class CaseFeatures:
    """Features of slices, and whose they are.

    Args:
        features: by part, (slices, features).
        sources, patients, cases: of each slice.
        source_of, patient_of: by case, refused ones included.
        refused: why inference does not take a case, by case.
    """

    features: dict[str, np.ndarray] = field(default_factory=dict)
    sources: list[str] = field(default_factory=list)
    patients: list[str] = field(default_factory=list)
    cases: list[str] = field(default_factory=list)
    source_of: dict[str, str] = field(default_factory=dict)
    patient_of: dict[str, str] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)


def case_features(
    model: Model, sources: Sequence[str], change: str = "", every: int = 1, only: CaseFeatures | None = None
) -> CaseFeatures:
    """The features of all cases of some sources.

    Args:
        model: that keeps features.
        sources: folders, files or tables.
        change: name of a change of the images, see ``shifts_of``.
        every: take every so manyth case.
        only: take cases that this has features of.
    """
    known, found = CaseFeatures(), []
    before = model.preprocessing
    if change:
        model.preprocessing = changed(before, shifts_of(model)[change])
    try:
        for source in sources:
            name, owners = Path(source).stem, patients_of(Path(source))
            listed = model.cases(source)[::every]
            for case in progress(listed, desc=f"{name} {change}".strip()):
                own = f"{name}/{case['case']}"
                if only is not None and own not in only.cases:
                    continue
                patient = owners.get(image_files(case)[0].resolve(), str(case["case"]))
                known.source_of[own], known.patient_of[own] = name, f"{name}/{patient}"
                try:
                    features = model.features(case, with_changes=not change)
                except Exception as error:  # one case must not lose the others
                    known.refused[own] = str(origin(error))
                    continue
                count = len(features[PARTS[0]])
                chosen = np.unique(np.linspace(0, count - 1, min(count, SLICES)).round().astype(int))
                found.append({part: values[chosen] for part, values in features.items()})
                for whose, word in ((known.sources, name), (known.patients, f"{name}/{patient}"), (known.cases, own)):
                    whose += [word] * len(chosen)
    finally:
        model.preprocessing = before
    known.features = {part: np.concatenate([each[part] for each in found]) for part in (found[0] if found else ())}
    if known.refused and not change:
        logger.warning("Refused: %s. %s", counted(len(known.refused), "cases"), " ".join(known.refused.values()))
    return known


def shifts_of(model: Model) -> dict[str, Shift]:
    """The changes of images that the model's data may have, by name."""
    return FRAME_SHIFTS if model.is_ultrasound else SHIFTS


def changed(preprocessing: Compose, shift: Shift) -> Compose:
    """A preprocessing that changes the image right after it was read and turned."""
    steps = list(preprocessing.transforms)
    last = max(place for place, step in enumerate(steps) if isinstance(step, (Orientationd, LoadFramed)))
    return Compose([*steps[: last + 1], Shiftd(shift), *steps[last + 1 :]])


@dataclass(frozen=True)
class HeldOut:
    """Detectors without some of the patients.

    Args:
        detectors: one for each part of the patients, which was left out; and one for all.
        part_of: by patient.
    """

    detectors: list[Detector]
    part_of: dict[str, int]

    def scores(self, known: CaseFeatures) -> dict[str, float]:
        """The highest score of each case, by the detector that has not seen its patient; infinite for refused ones."""
        return {
            case: self._score(known, case, self.detectors[self.part_of[known.patient_of[case]]])
            for case in known.patient_of
        }

    def scores_of_others(self, known: CaseFeatures) -> dict[str, float]:
        """The same for cases that no detector has seen, by the one for all."""
        return {case: self._score(known, case, self.detectors[-1]) for case in known.patient_of}

    @staticmethod
    def _score(known: CaseFeatures, case: str, detector: Detector) -> float:
        if case in known.refused:
            return math.inf
        own = np.array([each == case for each in known.cases])
        return max(detector.scores({part: values[own] for part, values in known.features.items()}).values())


def held_out(known: CaseFeatures) -> HeldOut:
    """Detectors for each part of the patients of some cases, fitted to the other parts, and one fitted to all."""
    part = parts_of(known.patients, PARTS_OF_DATA, known.sources)
    part_of = dict(zip(known.patients, part.tolist(), strict=True))
    detectors = []
    for number in range(PARTS_OF_DATA + 1):
        rest = np.flatnonzero(part != number)
        whose = [[words[index] for index in rest] for words in (known.sources, known.patients, known.cases)]
        detectors.append(fit({name: values[rest] for name, values in known.features.items()}, *whose))
    return HeldOut(detectors, {**{owner: 0 for owner in known.patient_of.values()}, **part_of})
