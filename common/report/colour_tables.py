"""Names and colours of mask values, as 3D Slicer and ITK-SNAP read them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..files import complete_file
from .styles import ClassStyle

SLICER = "labels.ctbl"
ITK_SNAP = "labels_itksnap.txt"


def slicer_table(styles: Sequence[ClassStyle]) -> str:
    """A colour table of 3D Slicer (``.ctbl``): value, name, red, green, blue and opacity, 0..255, for each class.

    Spaces in names are underscores, which Slicer shows as spaces. The format is described in Slicer's developer guide,
    *Colors*, section *Color table file format*.

    Example:
        >>> print(slicer_table([ClassStyle("pleural line", 8, (255, 176, 0))]))
        # Color table file
        # 2 values
        0 background 0 0 0 0
        8 pleural_line 255 176 0 255
        <BLANKLINE>
    """
    rows = [f"{style.value} {_one_word(style.name)} {_numbers(style)} 255" for style in _marked(styles)]
    return "\n".join(["# Color table file", f"# {len(rows) + 1} values", "0 background 0 0 0 0", *rows, ""])


def itk_snap_table(styles: Sequence[ClassStyle]) -> str:
    """A label description of ITK-SNAP: value, red, green, blue (0..255), opacity (0..1), shown, meshed, name.

    ITK-SNAP writes the same fields with *Segmentation*, *Export Label Descriptions*; value 0 is always its clear label.

    Example:
        >>> print(itk_snap_table([ClassStyle("lung", 3, (100, 143, 255))]))
        # ITK-SnAP Label Description File
        # IDX   -R-  -G-  -B-  -A--  VIS MSH  LABEL
        0 0 0 0 0 0 0 "Clear Label"
        3 100 143 255 1 1 1 "lung"
        <BLANKLINE>
    """
    rows = [f'{style.value} {_numbers(style)} 1 1 1 "{style.name}"' for style in _marked(styles)]
    heading = ["# ITK-SnAP Label Description File", "# IDX   -R-  -G-  -B-  -A--  VIS MSH  LABEL"]
    return "\n".join([*heading, '0 0 0 0 0 0 0 "Clear Label"', *rows, ""])


def write_colour_tables(folder: str | Path, styles: Sequence[ClassStyle]) -> None:
    """Write ``labels.ctbl`` and ``labels_itksnap.txt`` for the masks of a folder."""
    for name, text in ((SLICER, slicer_table(styles)), (ITK_SNAP, itk_snap_table(styles))):
        with complete_file(Path(folder) / name) as part:
            part.write_text(text, encoding="utf-8")


def _marked(styles: Sequence[ClassStyle]) -> list[ClassStyle]:
    """Classes with a value above 0, by value."""
    return sorted((style for style in styles if style.value), key=lambda style: style.value)


def _numbers(style: ClassStyle) -> str:
    return " ".join(map(str, style.colour))


def _one_word(name: str) -> str:
    return "_".join(name.split())
