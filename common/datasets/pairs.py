"""Match images with their masks by file name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


def number_or_name(name: str) -> tuple[int, str]:
    """Return a sort key that puts 2 before 10."""
    return (int(name), "") if name.isdigit() else (0, name)


def named(folder: Path, endings: Sequence[str]) -> dict[str, Path]:
    """Return the files of a folder that have one of the endings, by name without it; empty for a missing folder."""
    files = sorted(folder.iterdir()) if folder.is_dir() else []
    return {
        file.name[: -len(ending)]: file for file in files for ending in endings if file.name.lower().endswith(ending)
    }


def partners(
    images: Path, masks: Path, image_endings: Sequence[str], mask_endings: Sequence[str], left_out: Sequence[str] = ()
) -> dict[str, tuple[Path, Path]]:
    """Pair images and masks of the same name, without the names in ``left_out``.

    Raises:
        FileNotFoundError: naming every image without mask and every mask without image.
    """
    left, right = (
        {name: file for name, file in named(folder, endings).items() if name not in left_out}
        for folder, endings in ((images, image_endings), (masks, mask_endings))
    )
    unpaired = [f"{left[name]} has no mask in {masks.name}/" for name in sorted(left.keys() - right.keys())]
    unpaired += [f"{right[name]} has no image in {images.name}/" for name in sorted(right.keys() - left.keys())]
    if unpaired:
        raise FileNotFoundError(
            f"Every image needs a mask with the same name, {len(unpaired)} have none: {'; '.join(unpaired)}. "
            "Add or remove them."
        )
    return {name: (left[name], right[name]) for name in left}
