"""The input's window from the training images: their mean and standard deviation within the lung."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest

from common.datasets.ct import image_labels
from common.phantoms.ct.layouts import write_radiopaedia
from common.weak_gan.input_window import input_window


def test_the_window_is_three_deviations_around_the_mean_of_the_lungs_of_the_chosen_slices(tmp_path: Path) -> None:
    root = write_radiopaedia(tmp_path / "data", patients=2, size=(64, 64), slices=6)
    volumes = image_labels(root, "radiopaedia")
    chosen = [{**volumes[0], "slice": 2}, {**volumes[0], "slice": 3}, {**volumes[1], "slice": 4}]
    values = []
    for case in chosen:
        scan, mask = (
            np.asarray(nibabel.as_closest_canonical(nibabel.load(case[key])).dataobj) for key in ("image", "lung")
        )
        values.append(np.clip(scan[..., case["slice"]][mask[..., case["slice"]] > 0], -1350, 150))
    lungs = np.concatenate(values).astype(float)
    expected = [lungs.mean() - 3 * lungs.std(), lungs.mean() + 3 * lungs.std()]
    assert input_window(chosen, [-1350, -350], "training") == pytest.approx(expected, abs=0.06)
    assert input_window([], [-1350, -350]) == [-1350, -350], "a fixed window needs no images"
    with pytest.raises(ValueError, match="--normalise training needs training slices, got none"):
        input_window([], [-1350, -350], "training")


def test_the_lungs_are_those_that_are_asked_for(tmp_path: Path) -> None:
    root = write_radiopaedia(tmp_path / "data", patients=1, size=(64, 64), slices=6)
    case = {key: value for key, value in image_labels(root, "radiopaedia")[0].items() if key != "lung"}
    with pytest.raises(ValueError, match="lung"):
        input_window([{**case, "slice": 2}], [-1350, -350], "training", lungs="given")
    assert input_window([{**case, "slice": 2}], [-1350, -350], "training")[0] < -850
