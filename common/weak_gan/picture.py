"""Figure of decomposed slices at each validation: normal version and heatmap of lesions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from ignite.engine import Engine, Events

from ..handlers.comparison_picture import largest_of_each_case
from ..handlers.slice_table import decollated
from ..run.distributed import gathered, is_main
from .figures import draw_separation

KEYS = ("image", "normal", "pred", "truth")


class SeparationPicture:
    """Draw input, normal version, heatmap and ground truth of the slices with the largest lesions, one per case.

    Without ground truth, the slices with the highest mean of the heatmap are drawn.

    Args:
        path: PNG to write.
        columns: number of slices, at most.

    Raises:
        ValueError: for ``columns`` below 1.
    """

    def __init__(self, path: str | Path, columns: int = 6) -> None:
        if columns < 1:
            raise ValueError(f"The figure shows one slice or more, got columns={columns}.")
        self.path, self.columns = Path(path), columns
        self.best: dict[str, tuple[float, str, dict[str, np.ndarray]]] = {}  # lesion, title, planes by case

    def attach(self, engine: Engine) -> None:
        """Attach to an evaluator whose output or batch holds (1, X, Y): ``image`` in -1..1, heatmap ``pred`` in 0..1.

        ``normal`` (-1..1) and ``truth`` (0 and 1) are drawn if all samples hold them.
        """
        engine.add_event_handler(Events.STARTED, lambda _: self.best.clear())
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.choose)
        engine.add_event_handler(Events.COMPLETED, self.draw)

    def choose(self, engine: Engine) -> None:
        """Keep the slice with the largest lesions of each case, for the cases with the largest ones."""
        output: Any = engine.state.output
        for sample, source in zip(output, decollated(engine), strict=True):
            sample = {**source, **sample}  # MONAI's output holds only what the network took
            case = str(source["case"])
            lesion = float(sample["truth"].sum()) if "truth" in sample else float(sample["pred"].mean())
            if case not in self.best or lesion > self.best[case][0]:
                planes = {key: sample[key][0].detach().float().cpu().numpy() for key in KEYS if key in sample}
                self.best[case] = (lesion, f"{case}, slice {int(source['slice'])}", planes)
        for case in sorted(self.best, key=lambda name: -self.best[name][0])[self.columns :]:
            del self.best[case]

    def draw(self, engine: Engine) -> None:
        """Draw the slices of all processes."""
        self.best = largest_of_each_case(gathered([self.best]), self.columns)
        if not is_main():
            return
        _, titles, planes = zip(*self.best.values(), strict=True)
        rows = {key: [each[key] for each in planes] for key in KEYS if all(key in each for each in planes)}
        draw_separation(self.path, rows["image"], rows["pred"], titles, rows.get("normal"), rows.get("truth"))
