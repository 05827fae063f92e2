"""What the writers of DICOM objects share, for any kind of image."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import pydicom

from ...files import complete_file, sha256
from ...readers.library_notes import collected
from ...run.model_record import read_record, weights_files
from ...settings import as_list, check_names
from ..case_report import SEGMENTATION, CaseFiles
from ..trust import ERRORS, likely_of, verdict_of
from .source import Algorithm

logger = logging.getLogger(__name__)
Made = TypeVar("Made")

REPORT, OVERLAY = "_report.dcm", "_overlay.dcm"
ENDINGS = (SEGMENTATION, REPORT, OVERLAY)  # of all objects


class DicomObjects(CaseFiles):
    """Base of what writes DICOM objects of a case, completely or not at all.

    Where an object cannot be made, because the source's slices name no position, say, a note says so and the case goes
    on.

    Args:
        output_dir: folder; cases keep their sub-folders.
        metadata: path of the bundle's ``metadata.json``, which has the codes of what is found.
        cases: of the run, with ``case``, ``kind`` and ``image``; those of the kind ``dicom`` get objects.
        weights: whose hash the objects name.
        outputs: what is written.
        known: what can be written.

    Raises:
        ValueError: for unknown ``outputs``.
    """

    def __init__(
        self,
        output_dir: str | Path,
        metadata: str | Path,
        cases: Sequence[Mapping[str, Any]],
        weights: str | Path | Sequence[str | Path],
        outputs: Sequence[str],
        known: Sequence[str],
    ) -> None:
        super().__init__(output_dir)
        self.outputs, self.weights = as_list(outputs), weights
        check_names("output", self.outputs, known)
        self.files = {str(case["case"]): case["image"] for case in cases if case.get("kind") == "dicom"}
        self.name = Path(metadata).parent.parent.name
        self.declared: dict[str, Any] = json.loads(Path(metadata).read_text(encoding="utf-8"))

    @cached_property
    def algorithm(self) -> Algorithm:
        """What makes the results."""
        hashes = "+".join(sha256(path) for path in weights_files(self.weights, several=True))
        known: dict[str, Any] = {"name": self.name, "version": str(self.declared["version"]), "weights": hashes}
        cards = [read_record(path).get("card", {}) for path in weights_files(self.weights, several=True)]
        if not all("not_for" in card for card in cards):
            return Algorithm(**known)
        limits = dict.fromkeys(f"Not for: {card['not_for']} {_scores(card)}".strip() for card in cards)
        return Algorithm(**known, limits=" ".join(limits))

    def save(
        self, item: dict[Hashable, Any], what: str, ending: str, make: Callable[..., pydicom.Dataset]
    ) -> pydicom.Dataset | None:
        """Make an object that names the algorithm, and write it; None, with a note, if it cannot be made."""
        likely = likely_of(item)
        dice = None if likely is None else likely.dice
        unusual, errors = verdict_of(item).reason, str(item.get(ERRORS, ""))
        made = self.attempt(
            item,
            what,
            lambda: make(algorithm=replace(self.algorithm, unusual=unusual, errors=errors, dice=dice)),
        )
        if made is not None:
            with complete_file(self.path(item, ending)) as part:
                made.save_as(part)
        return made

    def attempt(self, item: dict[Hashable, Any], what: str, make: Callable[[], Made]) -> Made | None:
        """What ``make`` gives; None, with a note of the reason, if it raises."""
        try:
            with collected():  # what libraries say of the source's header
                return make()
        except Exception as error:  # highdicom raises several types on headers that lack what an object needs
            reason = " ".join(str(error).split())
            logger.warning("%s: no DICOM %s: %s", item["case"], what, reason)
            item["notes"] = "; ".join(filter(None, [item.get("notes"), f"no DICOM {what}: {reason}"]))
            return None


def _scores(card: Mapping[str, Any]) -> str:
    """The scores of a model card in a sentence; empty if it has none."""
    if not card.get("scores"):
        return ""
    listed = ", ".join(f"{name} {value}" for name, value in card["scores"].items())
    return f"Scores: {listed} ({card['scores_of']})." if card.get("scores_of") else f"Scores: {listed}."
