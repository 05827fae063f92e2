"""Clips for inference, frame by frame in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from monai.data import list_data_collate

from ..readers.isolated import Isolated
from ..readers.ultrasound.frames import Frame, frames, isolated_frames
from .inference import Ledger, ScanDataset

TIMEOUT = 120.0  # seconds; the largest files on a slow network drive
MEMORY = 16.0  # GiB


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
        isolated: decode in a process of its own, so that a decoder that crashes or hangs loses one case.
        timeout: seconds without a frame after which decoding is stopped, if isolated.
        memory: GiB that decoding a file may need, if isolated.
    """

    def __init__(
        self,
        data: Sequence[Mapping[str, Any]],
        transform: Callable[[Mapping[str, Any]], Any],
        frames_per_second: float | None = None,
        crop: Sequence[int] | None = None,
        batch_size: int = 1,
        ledger: Ledger | None = None,
        isolated: bool = False,
        timeout: float = TIMEOUT,
        memory: float = MEMORY,
    ) -> None:
        super().__init__(data, transform, ledger)
        self.reader = Isolated(timeout, memory) if isolated else None
        self.frames_per_second, self.crop, self.batch_size = frames_per_second, crop, batch_size

    def items(self, case: Mapping[str, Any]) -> Iterator[Any]:
        """Yield collated batches of one case. Its last frame is known only when the clip has ended."""
        batch: list[Any] = []
        waiting: dict[str, Any] | None = None
        for frame, notes in self.frames(case):
            if waiting is not None:
                batch.append(self.transform({**waiting, "last": False}))  # type: ignore[misc]
            if len(batch) == self.batch_size:
                yield list_data_collate(batch)
                batch = []
            waiting = {**case, "image": frame.pixels, "frame": frame.index, "seconds": frame.seconds}
            waiting["notes"] = "; ".join(notes)
        if waiting is not None:
            yield list_data_collate([*batch, self.transform({**waiting, "last": True})])  # type: ignore[misc]

    def frames(self, case: Mapping[str, Any]) -> Iterator[tuple[Frame, list[str]]]:
        """Yield the frames of a case, each with what libraries have warned of until then."""
        options = case["image"], self.frames_per_second, self.crop
        if self.reader is not None:
            yield from isolated_frames(self.reader, *options)
        else:
            yield from ((frame, []) for frame in frames(*options))
