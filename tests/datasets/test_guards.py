"""All bad files of a dataset are named at once, before the first epoch, whatever a reader raises."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import itk
import nibabel
import numpy as np
import pytest
from monai.transforms import Compose
from PIL import Image
from ultrasound_files import GREY, dicom, ramp, save_clip, save_dicom, save_image

from common.datasets.ct.slice_sets import lung_slices
from common.datasets.frames import FrameDataset
from common.datasets.guards import NAMED, Failed, refuse_failed, try_each
from common.datasets.slices import SliceDataset
from common.transforms.ct import LoadScand
from common.transforms.ultrasound import LabelClassesd, LoadFramed


def cut(path: Path, share: float = 0.5) -> Path:
    """Truncate a file."""
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    return path


def volume(path: Path) -> Path:
    """A small volume of noise in the format of the suffix."""
    values = np.random.default_rng(0).integers(0, 2, (24, 20, 12)).astype(np.int16)
    if ".nii" in path.name:
        nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), path)
    elif path.suffix == ".npy":
        np.save(path, values)
    elif path.suffix in (".png", ".jpg", ".bmp", ".tif"):
        Image.fromarray((200 * values[..., 0]).astype(np.uint8)).save(path)
    else:
        itk.imwrite(itk.image_from_array(values), str(path), compression=path.suffix == ".mha")
    return path


KINDS = (".nii", ".nii.gz", ".mha", ".nrrd", ".npy", ".png", ".jpg", ".bmp", ".tif")


def test_every_cut_file_of_ct_is_named_at_once(tmp_path: Path) -> None:
    cases: list[dict[str, Any]] = []
    for number, kind in enumerate(KINDS):
        image, label = volume(tmp_path / f"scan{number}{kind}"), volume(tmp_path / f"mask{number}{kind}")
        cases.append({"case": f"c{number}", "image": image, "label": label})
        cut(label if number % 2 else image)
    whole = {"case": "good", "image": volume(tmp_path / "good.nii"), "label": volume(tmp_path / "good_mask.nii")}
    message = rf"{len(KINDS)} of {len(KINDS) + 1} cases cannot be used:\n"
    with pytest.raises(ValueError, match=message) as error:
        SliceDataset([*cases, whole], Compose([LoadScand(["image", "label"])]))
    lines = str(error.value).splitlines()[1:]
    for number, (kind, line) in enumerate(zip(KINDS, lines, strict=True)):
        assert f"{'mask' if number % 2 else 'scan'}{number}{kind}: " in line, "the file at fault is named"
        assert not any(word in line for word in ("Traceback", "Error", "buffer", "itk", "0x", "errno")), line
    labels = [
        {**case, "label": case["image"] if number % 2 == 0 else case["label"]} for number, case in enumerate(cases)
    ]
    with pytest.raises(ValueError, match=rf"{len(KINDS)} of {len(KINDS)} cases cannot be used:\n"):
        lung_slices(labels, LoadScand(["label", "lung"]))


def test_every_bad_file_of_ultrasound_is_named_at_once(tmp_path: Path) -> None:
    cases = []
    for name in ("clip.mp4", "image.png", "image.jpg", "dicom.dcm", "text.png", "label.png"):
        path, label = tmp_path / name, save_image(tmp_path / "labels" / f"{name}.png", ramp() * 0)
        if name == "clip.mp4":
            save_clip(path)
        elif name == "dicom.dcm":
            save_dicom(dicom(GREY[:1]), path)
        elif name == "text.png":
            path.write_text("text")
        else:
            Image.fromarray(ramp()).save(path)
        if name not in ("text.png",):
            cut(label if name == "label.png" else path)
        cases.append({"case": path.stem, "image": path, "label": label})
    good = save_image(tmp_path / "good.png", ramp())
    cases.append({"case": "good", "image": good, "label": save_image(tmp_path / "labels" / "good.png", ramp() * 0)})
    transform = Compose([LoadFramed("image"), LabelClassesd("label", ["background"], {"background": 0}, {})])
    with pytest.raises(ValueError, match=r"6 of 7 cases cannot be used:\n") as error:
        FrameDataset(cases, transform)
    lines = str(error.value).splitlines()[1:]
    for case, line in zip(cases, lines, strict=False):
        assert case["image"].name in line
    assert str(cases[5]["label"]) in lines[5], "the label's file is named"


def test_any_error_is_caught_and_the_order_kept() -> None:
    errors = {1: EOFError(), 2: struct.error("unpack requires a buffer"), 3: KeyError("x"), 5: ValueError("odd")}

    def task(number: int) -> int:
        if number in errors:
            raise errors[number]
        return number

    for threads in (1, 3):
        results = list(try_each(task, range(7), lambda number: {"case": f"case {number}"}, threads))
        assert [each for each in results if not isinstance(each, Failed)] == [0, 4, 6]
        for number in errors:
            failed = results[number]
            assert isinstance(failed, Failed) and failed.message.startswith(f"case {number}: ")
            assert "Error" not in failed.message and "buffer" not in failed.message
    errors[6] = MemoryError()
    with pytest.raises(MemoryError):
        list(try_each(task, [6], lambda number: {}))


def test_many_failures_are_counted() -> None:
    refuse_failed([1, None], 2)
    with pytest.raises(ValueError, match=rf"{NAMED + 5} of 200 files cannot be used:\n  0\n(.|\n)*and 5 more$"):
        refuse_failed([Failed(str(number)) for number in range(NAMED + 5)], 200, "files")
