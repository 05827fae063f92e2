"""Measure what it costs to say how far a result can be trusted.

Run      PYTHONPATH=.:tests python benchmarks/trust.py [--slices 100] [--rounds 3] [--bundle ct_transfer_unet]

Each round runs the same command on the same synthetic DICOM series once for each row, as a process of its own, from
reading to report. The rows differ in what the record of the weights says: nothing of it, which is what the others are
compared with; what is usual; how large errors are, too; and all with a map of the uncertainty.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

import fire
from whole_command import inference, measure, print_medians, write_study

from common.outliers.monitor import RECORD as USUAL
from common.reliability.judge import RECORD as ERRORS

ROWS: dict[str, tuple[tuple[str, ...], list[str]]] = {  # entries that are removed from the record, and options
    "mask and report": ((USUAL, ERRORS), []),
    "and what is usual": ((ERRORS,), []),
    "and expected errors": ((), []),
    "and uncertainty": ((), ["--uncertainty", "True"]),
}


def main(bundle: str = "ct_drsegunet", slices: int = 100, size: int = 512, rounds: int = 3) -> None:
    """Measure and print the table.

    Args:
        bundle: a CT bundle whose weights have such a record.
        slices: of the series.
        size: pixels per side of a slice.
        rounds: number of times that each row is measured.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_study(folder / "study", size, slices)
        weights = Path("bundles") / bundle / "models" / "model.pt"
        record = json.loads(weights.with_suffix(".json").read_text())
        found: dict[str, list[tuple[float, float]]] = {row: [] for row in ROWS}
        for place, (without, _) in enumerate(ROWS.values()):
            own = folder / str(place)
            own.mkdir()
            shutil.copy(weights, own)
            kept = {key: value for key, value in record.items() if key not in without}
            (own / "model.json").write_text(json.dumps(kept))
        for number in range(rounds):
            for place, (row, (_, options)) in enumerate(ROWS.items()):
                own = ["--weights", folder / str(place) / "model.pt", *options]
                found[row].append(measure(inference(bundle, folder / "study", folder / f"{number} {row}", *own)))
    print_medians(f"{bundle}, {size} x {size} x {slices}", found)


if __name__ == "__main__":
    fire.Fire(main)
