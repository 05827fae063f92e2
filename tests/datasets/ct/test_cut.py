"""Volumes cut into slices with image-level labels."""

from __future__ import annotations

import csv
from pathlib import Path

import nibabel
import numpy as np
import pytest
from labelled_slices import write_table
from PIL import Image

from common.datasets.ct import image_labels
from common.datasets.ct.cut import main
from common.phantoms.ct.layouts import write_radiopaedia
from common.phantoms.ct.medseg_layouts import write_medseg_pictures


def cut_phantoms(root: Path, output_dir: Path, *words: str) -> list[dict[str, str]]:
    """Rows of the table after cutting volumes with masks of lung and lesions."""
    given = ["--dataset_dir", "rp_im", "--lung_masks", "rp_lung_msk", "--lesion_masks", "rp_msk"]
    main(
        [str(root / word) if word.startswith("rp_") else word for word in given]
        + ["--output_dir", str(output_dir), *words]
    )
    with (output_dir / "labels.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_slices_are_upright_windowed_and_chosen_by_their_lesions(tmp_path: Path) -> None:
    root, out = write_radiopaedia(tmp_path / "data", patients=2, size=(64, 48), slices=12), tmp_path / "mix"
    volumes = {  # (Z, Y, X): rows run to posterior, columns to the left
        (number, name): np.asarray(nibabel.as_closest_canonical(nibabel.load(path)).dataobj)[::-1, ::-1].T
        for name in ("im", "msk", "lung_msk")
        for number, path in enumerate(sorted((root / f"rp_{name}").iterdir()), start=1)
    }
    window = ("--window", "-1000", "200")
    cut_phantoms(root, out, "--label", "1", "--source", "north", *window)
    for _ in range(2):  # the second time changes nothing
        rows = cut_phantoms(root, out, "--label", "0", "--source", "south", "--gap", "1", *window)
    expected = []
    for number in (1, 2):
        ill, lung = (volumes[number, name].reshape(12, -1) > 0 for name in ("msk", "lung_msk"))
        for index in np.flatnonzero(lung.mean(1) >= 0.02):
            if ill[index].any():
                expected.append(("north", "1", f"north/{number}", f"{number}_{index:03d}"))
            elif not ill[max(0, index - 1) : index + 2].any():
                expected.append(("south", "0", f"south/{number}", f"{number}_{index:03d}"))
    found = [(row["source"], row["label"], row["patient"], Path(row["image"]).stem) for row in rows]
    assert found == sorted(expected) and {label for _, label, _, _ in found} == {"0", "1"}
    for row in rows:
        number, index = map(int, Path(row["image"]).stem.split("_"))
        grey = (np.clip(volumes[number, "im"][index], -1000.0, 200.0) + 1000) / 1200 * 255
        np.testing.assert_allclose(np.asarray(Image.open(out / row["image"])), grey, atol=0.51)
        lung = volumes[number, "lung_msk"][index] > 0
        np.testing.assert_array_equal(np.asarray(Image.open(out / row["lung"])), 255 * lung)
        if row["label"] == "1":
            mask = volumes[number, "msk"][index] > 0
            np.testing.assert_array_equal(np.asarray(Image.open(out / row["mask"])), mask)
    cases = image_labels(out, "table")
    assert len(cases) == len(rows) and all(("truth" in case) == bool(case["label"]) for case in cases)


def test_slices_that_are_no_longer_taken_leave_the_table(tmp_path: Path) -> None:
    root, out = write_radiopaedia(tmp_path / "data", patients=1, size=(64, 48), slices=12), tmp_path / "mix"
    all_slices = ["--dataset_dir", str(root / "rp_im"), "--lung_masks", str(root / "rp_lung_msk")]
    main([*all_slices, "--output_dir", str(out), "--label", "0", "--source", "h"])
    before = len((out / "labels.csv").read_text().splitlines())
    rows = cut_phantoms(root, out, "--label", "0", "--source", "h")
    assert 0 < len(rows) < before - 1, "with masks, slices with lesions are no longer normal"
    for source in ("../h", "", "a/b"):
        with pytest.raises(ValueError, match="--source is a name, from which a folder is made"):
            cut_phantoms(root, out, "--label", "0", "--source", source)


def test_rotated_images_become_upright_and_keep_their_grey_levels(tmp_path: Path) -> None:
    root = write_medseg_pictures(tmp_path / "data", slices=3, size=(64, 64))
    words = ["--picture_axes", "LP", "--label", "1", "--source", "s", "--patients", "unknown"]
    main(["--dataset_dir", str(root / "Imgs"), "--output_dir", str(tmp_path / "mix"), *words])
    found = image_labels(tmp_path / "mix", "table")
    assert len(found) == 3 and {case["patient"] for case in found} == {None}
    for case, path in zip(found, sorted((root / "Imgs").iterdir()), strict=True):
        with Image.open(path) as before, Image.open(case["image"]) as after:
            np.testing.assert_array_equal(np.asarray(after), np.asarray(before.convert("L")).T)


def test_volumes_that_cannot_be_cut_are_refused(tmp_path: Path) -> None:
    root = write_radiopaedia(tmp_path / "data", patients=2, size=(64, 64), slices=4)
    with pytest.raises(ValueError, match=r"the window from low to high; got 0, 0, 'scan', \(150\.0, -1350\.0\)"):
        cut_phantoms(root, tmp_path, "--label", "0", "--source", "s", "--window", "150", "-1350")
    (root / "rp_msk" / "2.nii.gz").unlink()
    with pytest.raises(ValueError, match=r"Each scan needs its mask in .*rp_msk, 1 have none: 2\."):
        cut_phantoms(root, tmp_path, "--label", "0", "--source", "s")
    write_table(tmp_path, [])
    with pytest.raises(
        ValueError, match=r"labels\.csv: the columns are image,label,patient,lung,source,mask, got image,"
    ):
        cut_phantoms(root, tmp_path, "--label", "0", "--source", "s", "--include", "1")
