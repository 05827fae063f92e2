"""Colour tables, read by the rules of the programs that they are for."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
import torch
from conftest import ROOT
from monai.data import MetaTensor

from common.datasets.walk import is_output
from common.report.case import SaveMaskd
from common.report.colour_tables import write_colour_tables
from common.report.styles import class_styles

BUNDLES = sorted(path.parent.parent for path in (ROOT / "bundles").glob("*/configs/metadata.json"))
Colours = dict[int, tuple[str, tuple[int, ...], float]]


def read_slicer(path: Path) -> Colours:
    """Slicer's developer guide, *Color table file format*: a marked heading, then fields separated by spaces.

    Slicer's own reader takes a ``.txt`` for a colour table by its first 100 characters, and shows underscores as
    spaces.
    """
    text = path.read_text()
    assert "# Color table file" in text[:100]
    found: Colours = {}
    for line in text.splitlines():
        if line.startswith("#"):
            continue
        value, name, *numbers = line.split(" ")
        assert len(numbers) == 4 and all(0 <= int(number) <= 255 for number in numbers)
        found[int(value)] = (name.replace("_", " "), tuple(map(int, numbers[:3])), int(numbers[3]) / 255)
    assert f"# {len(found)} values" in text.splitlines()
    return found


def read_itk_snap(path: Path) -> Colours:
    """The heading that ITK-SNAP writes names the fields: IDX, R, G, B (0..255), A (0..1), VIS, MSH (0, 1), LABEL."""
    found: Colours = {}
    for line in path.read_text().splitlines():
        if line.startswith("#") or not line:
            continue
        value, red, green, blue, opacity, shown, meshed, name = shlex.split(line)
        assert shown == meshed == ("1" if value != "0" else "0") and line.endswith(f'"{name}"')
        found[int(value)] = (name, (int(red), int(green), int(blue)), float(opacity))
    return found


@pytest.mark.parametrize("bundle", BUNDLES, ids=lambda bundle: bundle.name)
def test_both_tables_hold_what_the_metadata_declare(bundle: Path, tmp_path: Path) -> None:
    metadata = bundle / "configs" / "metadata.json"
    labels = json.loads(metadata.read_text())["labels"]
    write_colour_tables(tmp_path, class_styles(metadata, [label["name"] for label in labels]))
    declared = {label["value"]: (label["name"], tuple(label["colour"]), 1.0) for label in labels if label["value"]}
    assert len(declared) >= 1
    clear = ((0, 0, 0), 0.0)
    assert read_slicer(tmp_path / "labels.ctbl") == {0: ("background", *clear), **declared}
    assert read_itk_snap(tmp_path / "labels_itksnap.txt") == {0: ("Clear Label", *clear), **declared}


def test_masks_bring_one_pair_of_tables_which_no_later_run_takes_for_input(tmp_path: Path) -> None:
    metadata = ROOT / "bundles" / "ct_drsegunet" / "configs" / "metadata.json"
    save = SaveMaskd("pred", tmp_path, metadata, ["ground-glass", "lung", "background"])
    assert not any(tmp_path.iterdir())  # a config that is only read writes nothing
    mask = MetaTensor(torch.zeros(1, 4, 4, 2, dtype=torch.uint8), affine=torch.eye(4))
    for case in ("one/a", "two/b"):
        save({"case": case, "kind": "volume", "pred": mask, "image": mask})
    tables = sorted(path for path in tmp_path.rglob("labels*"))
    assert [path.relative_to(tmp_path).as_posix() for path in tables] == ["labels.ctbl", "labels_itksnap.txt"]
    assert all(is_output(path) for path in tables)
    assert list(read_slicer(tables[0])) == [0, 1, 3]  # the classes of these weights, without consolidation
