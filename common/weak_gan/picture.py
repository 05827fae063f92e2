"""A picture of what was parted: normal version and lesions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from ignite.engine import Engine, Events

from ..handlers.comparison_picture import largest
from ..handlers.slice_table import decollated
from ..run.distributed import gathered, is_main
from .figures import separation_sheet

KEYS = ("image", "normal", "pred", "truth")


class SeparationPicture:
    """A sheet of input, normal version, lesion map and truth of the slices with most lesion, one a case.

    Slices are those with the largest lesions in truth; where there is no truth, those with the highest mean heat.

    Args:
        path: of the PNG.
        columns: number of slices.

    Raises:
        ValueError: for ``columns`` below 1.
    """

    def __init__(self, path: str | Path, columns: int = 6) -> None:
        if columns < 1:
            raise ValueError(f"A sheet shows one slice or more, got columns={columns}.")
        self.path, self.columns = Path(path), columns
        self.best: dict[str, tuple[float, str, dict[str, np.ndarray]]] = {}  # lesion, title, planes by case

    def attach(self, engine: Engine) -> None:
        """Attach to an evaluator whose output or batch holds (1, X, Y): ``image`` in -1..1, heat ``pred`` in 0..1.

        ``normal`` in -1..1 and ``truth``, 0 and 1, are drawn where all samples hold them.
        """
        engine.add_event_handler(Events.STARTED, lambda _: self.best.clear())
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.choose)
        engine.add_event_handler(Events.COMPLETED, self.draw)

    def choose(self, engine: Engine) -> None:
        """Keep the slice with most lesion of each case, of the cases with most."""
        output: Any = engine.state.output
        for sample, source in zip(output, decollated(engine), strict=True):
            sample = {**source, **sample}  # MONAI's output leaves out what the network did not take
            case = str(source["case"])
            lesion = float(sample["truth"].sum()) if "truth" in sample else float(sample["pred"].mean())
            if case not in self.best or lesion > self.best[case][0]:
                planes = {key: sample[key][0].detach().float().cpu().numpy() for key in KEYS if key in sample}
                self.best[case] = (lesion, f"{case}, slice {int(source['slice'])}", planes)
        for case in sorted(self.best, key=lambda name: -self.best[name][0])[self.columns :]:
            del self.best[case]

    def draw(self, engine: Engine) -> None:
        """Write the sheet of all processes' slices."""
        self.best = largest(gathered([self.best]), self.columns)
        if not is_main():
            return
        _, titles, planes = zip(*self.best.values(), strict=True)
        rows = {key: [each[key] for each in planes] for key in KEYS if all(key in each for each in planes)}
        separation_sheet(self.path, rows["image"], rows["pred"], titles, rows.get("normal"), rows.get("truth"))
