"""Shortcuts are found where pictures have them, and only there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from csv_rows import rows_by_name
from PIL import Image

from common.datasets.ct.labels_table import picture_case
from common.phantoms.ct.chest_ct import chest_ct
from common.shortcuts.clues import clues
from common.shortcuts.command import main
from common.shortcuts.pictures import lungs_alone

SIZE = 48


def write(folder: Path, told_by: str) -> Path:
    """Two classes of 12 patients, two images each: noise, except for what tells the class."""
    rng = np.random.default_rng(0)
    rows = ["file,label,patient"]
    for patient in range(24):
        sick = patient % 2
        for number in range(2):
            size = SIZE + 16 * sick if told_by == "size" else SIZE
            pixels = rng.integers(100, 140, (size, size), dtype=np.uint8)
            if told_by == "border":
                pixels[:6] = (150, 90)[sick]
            told = sick if told_by == "folder" and patient > 1 else patient // 2 % 2
            place = Path("ab"[told]) / f"{patient}_{number}.png"
            (folder / place).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(folder / place)
            rows.append(f"{place},{('normal', 'covid')[sick]},{patient}")
    (folder / "manifest.csv").write_text("\n".join(rows))
    return folder


@pytest.mark.parametrize("told_by", ["border", "size", "folder"])
def test_the_clue_that_tells_the_class_is_found_and_no_other(tmp_path: Path, told_by: str) -> None:
    data = write(tmp_path / "data", told_by)
    assert main(["us_reverse_transfer", str(data), "--output_dir", str(tmp_path / "out")]) == 0
    found = rows_by_name(tmp_path / "out" / "shortcuts.csv")
    scores = {name: float(row["balanced_accuracy"]) for name, row in found.items()}
    assert scores[told_by] == (pytest.approx(23 / 24, abs=1e-4) if told_by == "folder" else 1.0), (
        "one patient is an exception"
    )
    others = {"border", "size", "folder"} - {told_by}
    assert all(scores[name] < 0.75 for name in others), "chance is 0.5, and its interval over 24 patients is wide"
    assert found[told_by]["interval_over"] == "24 patients"
    assert (tmp_path / "out" / "shortcuts.png").stat().st_size > 1000
    assert "chance is 0.500" in (tmp_path / "out" / "report.html").read_text()


def test_folders_that_name_the_classes_are_no_clue(tmp_path: Path) -> None:
    data = write(tmp_path / "data", "border")
    for sick, name in enumerate(("normal", "covid-19")):
        for patient in range(sick, 24, 2):
            (data / name / str(patient)).mkdir(parents=True)
            for path in data.glob(f"?/{patient}_?.png"):
                path.rename(data / name / str(patient) / path.name)
    (data / "manifest.csv").unlink()
    assert main(["us_reverse_transfer", str(data), "--output_dir", str(tmp_path / "out")]) == 0
    assert [*rows_by_name(tmp_path / "out" / "shortcuts.csv")] == ["border", "outline", "grey levels", "size"]


def test_what_the_clues_are() -> None:
    picture = np.full((80, 160), 200, np.uint8)
    picture[:, :80] = 0
    found = clues(picture)
    assert found["size"].tolist() == pytest.approx(np.log([80, 160]).tolist())
    assert found["outline"].mean() == pytest.approx(0.5, abs=0.02), "the left half is black"
    assert found["grey levels"][[0, 25]].tolist() == pytest.approx([np.sqrt(0.5)] * 2)
    assert found["border"].size == 64 * 64 - 48 * 48


def test_data_without_labelled_images_are_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="holds no images with labels that ct_weak_gan reads"):
        main(["ct_weak_gan", str(tmp_path / "empty"), "--output_dir", str(tmp_path / "out")])


def test_lungs_alone_are_seen_in_one_window_whatever_window_the_picture_has(tmp_path: Path) -> None:
    """Two pictures of one slice in other windows, one with a wide margin: what the network gets is the same."""
    patient = chest_ct(3, size=(128, 128), slices=9)
    slice_hu = patient.image[..., 4].T
    seen = []
    for number, (low, high) in enumerate(((-1350, 150), (-1000, 400))):
        grey = np.clip((slice_hu - low) / (high - low) * 255, 0, 255).astype(np.uint8)
        Image.fromarray(grey).save(tmp_path / f"{number}.png")
        shown = lungs_alone(picture_case(tmp_path / f"{number}.png", 0, str(number), None, "table"))
        assert shown is not None and min(shown.shape) > 40
        seen.append(shown)
    assert seen[0].shape == pytest.approx(seen[1].shape, abs=4)
    inside = [each[each > 0] for each in seen]
    assert np.median(inside[0]) == pytest.approx(np.median(inside[1]), abs=12)
    lung_hu = np.median(patient.image[..., 4][patient.lung[..., 4] > 0])
    assert np.median(inside[0]) == pytest.approx((lung_hu + 1350) / 1500 * 255, abs=30), "fat counts as tissue here"


def test_a_picture_without_lung_is_left_out_and_ultrasound_has_no_lungs_alone(tmp_path: Path) -> None:
    Image.fromarray(np.full((64, 64), 128, np.uint8)).save(tmp_path / "flat.png")
    assert lungs_alone(picture_case(tmp_path / "flat.png", 0, "flat", None, "table")) is None
    with pytest.raises(ValueError, match=r"--prepared is for ct_weak_gan, got us_reverse_transfer"):
        main(["us_reverse_transfer", str(tmp_path), "--prepared", "--output_dir", str(tmp_path / "out")])
