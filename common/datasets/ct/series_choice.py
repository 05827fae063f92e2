"""Which series of a DICOM study are segmented."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatch

from ...readers.dicom_series import Series

COVERED = 0.9  # of the longest series of a study; shorter ones show a part of the chest alone
SOFT = ("soft", "stand", "b3", "b2", "b4", "br3", "br4", "fc0", "fc1", "fc2")
SHARP = ("lung", "bone", "sharp", "b5", "b6", "b7", "b8", "bl", "br5", "br6", "br7", "fc5", "fc8", "yc")
KERNELS = ("soft", "lung")


def is_sharp(series: Series) -> bool | None:
    """Whether a series was reconstructed with a lung kernel; None if kernel and description do not tell."""
    for text in (series.kernel.lower(), series.description.lower()):
        for word in text.replace("_", " ").split():
            if word.startswith(SHARP):
                return True
            if word.startswith(SOFT):
                return False
    return None


def choose(
    series: Sequence[Series], wanted: str = "auto", kernel: str = "soft"
) -> tuple[list[Series], list[tuple[Series, str]]]:
    """Choose series of one study.

    Args:
        series: of one study.
        wanted: ``auto``: the axial series that covers most, of those the thinnest slices, then the kernel; without an
            axial series, a volume of another orientation in the same way. Series that do not differ in these are all
            taken if they are in folders of their own. ``all``: every axial series. Else a SeriesInstanceUID, a
            SeriesNumber, or a pattern of the description such as ``*lung*``.
        kernel: ``soft`` or ``lung``: which reconstruction ``auto`` prefers, by what the weights were trained on.

    Returns:
        The chosen series, and the others with the reason.

    Raises:
        ValueError: for an unknown kernel.
    """
    if kernel not in KERNELS:
        raise ValueError(f"--kernel is {' or '.join(KERNELS)}, got {kernel!r}.")
    if wanted not in ("auto", "all"):
        chosen = [
            each
            for each in series
            if wanted in (each.uid, each.number) or fnmatch(each.description.lower(), wanted.lower())
        ]
        return chosen, [(each, f"not chosen by --series {wanted}") for each in series if each not in chosen]
    volumes = [each for each in series if len(each.slices) > 1 or each.multiframe]
    axial = [each for each in series if each.axial] or volumes
    rejected = [(each, "not axial") for each in series if each not in axial]
    if wanted == "all" or len(axial) <= 1 or all(len(each.slices) == 1 and not each.multiframe for each in axial):
        return axial, rejected
    usable = [each for each in axial if not each.problem] or axial
    rejected += [(each, "not a regular volume") for each in axial if each not in usable]
    longest = max(each.extent for each in usable)
    covering = [each for each in usable if each.extent >= COVERED * longest]
    short = [each for each in usable if each not in covering]
    rejected += [(each, f"covers {each.extent:.0f} of {longest:.0f} mm") for each in short]

    def rank(each: Series) -> tuple[float, int]:
        sharp = is_sharp(each)
        return round(each.spacing, 2), 1 if sharp is None else 0 if sharp == (kernel == "lung") else 2

    best = min(rank(each) for each in covering)
    folders: dict[str, Series] = {}  # series of equal rank in folders of their own are scans of their own
    for each in sorted(covering, key=lambda each: (each.number, each.uid)):
        if rank(each)[0] > best[0]:
            rejected.append((each, f"thicker slices ({each.spacing:.2f} mm)"))
        elif rank(each) > best:
            rejected.append((each, f"kernel {each.kernel or 'not stated'}, {kernel} is preferred"))
        elif str(each.first.path.parent) in folders:
            rejected.append((each, f"as '{folders[str(each.first.path.parent)].description}' in the same folder"))
        else:
            folders[str(each.first.path.parent)] = each
    chosen = list(folders.values())
    # A series that is alone in its folder was put there as a scan of its own: it is segmented, or refused by name
    homes = {each.first.path.parent for each in chosen}
    alone = [each for each in axial if each.first.path.parent not in homes and (each in short or each not in usable)]
    return chosen + alone, [(each, why) for each, why in rejected if each not in alone]
