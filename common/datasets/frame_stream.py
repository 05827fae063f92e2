"""Clips for inference, frame by frame in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from monai.data import list_data_collate

from ..readers.ultrasound.frames import frames
from .inference import Ledger, ScanDataset


class FrameStream(ScanDataset):
    """Yield batches of frames, each of one clip or image, and remember the cases that cannot be read.

    The last frame of a case has ``last`` set. An interrupted case has no such frame, and its results are discarded.

    Args:
        data: cases, as ``common.datasets.ultrasound.folder.inference_cases`` gives them.
        transform: applied to one frame: a case with ``image`` as uint8 (rows, columns), ``frame`` (number in the clip),
            ``seconds`` and ``last``.
        frames_per_second: sampling rate of clips; None gives every frame.
        crop: pixels to crop; see ``common.readers.ultrasound.frames.frames``.
        batch_size: frames per batch.
        ledger: see ``ScanDataset``.
    """

    def __init__(
        self,
        data: Sequence[Mapping[str, Any]],
        transform: Callable[[Mapping[str, Any]], Any],
        frames_per_second: float | None = None,
        crop: Sequence[int] | None = None,
        batch_size: int = 1,
        ledger: Ledger | None = None,
    ) -> None:
        super().__init__(data, transform, ledger)
        self.frames_per_second, self.crop, self.batch_size = frames_per_second, crop, batch_size

    def items(self, case: Mapping[str, Any]) -> Iterator[Any]:
        """Yield collated batches of one case. Its last frame is known only when the clip has ended."""
        batch: list[Any] = []
        waiting: dict[str, Any] | None = None
        for frame in frames(case["image"], self.frames_per_second, self.crop):
            if waiting is not None:
                batch.append(self.transform({**waiting, "last": False}))  # type: ignore[misc]
            if len(batch) == self.batch_size:
                yield list_data_collate(batch)
                batch = []
            waiting = {**case, "image": frame.pixels, "frame": frame.index, "seconds": frame.seconds}
        if waiting is not None:
            yield list_data_collate([*batch, self.transform({**waiting, "last": True})])  # type: ignore[misc]
