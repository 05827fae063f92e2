"""Tables of your own cases: what they say is read, and what is wrong with them is said by row."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from common.datasets.ct import image_labels, lesions
from common.datasets.ct.folder import inference_cases
from common.datasets.given_sets import given_sets
from common.datasets.splits import split, three_way_split
from common.datasets.table import own_cases, read_label_map
from common.datasets.ultrasound import diagnoses, pixel_labels


def files(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())


def table(folder: Path, text: str, encoding: str = "utf-8") -> Path:
    path = folder / "cases.csv"
    path.write_bytes(text.encode(encoding))
    return path


def test_paths_are_relative_to_the_table_as_a_spreadsheet_program_saves_it(tmp_path: Path) -> None:
    files(tmp_path, "scans/Müller 1.nii.gz", "seg/1.nii", "lung/1.mha", "scans/b.png", "seg/b.png")
    text = (
        "Image;MASK;lung;Patient;set;intensity;age\n"
        "scans\\Müller 1.nii.gz;seg\\1.nii;lung\\1.mha;M;train;;61\nscans/b.png;seg/b.png;;;Val;8bit;\n"
    )
    first, second = lesions("phantom", datalist=table(tmp_path, text, "utf-16"))
    assert first == {
        **{"image": tmp_path / "scans/Müller 1.nii.gz", "label": tmp_path / "seg/1.nii"},
        **{"lung": tmp_path / "lung/1.mha", "case": "scans/Müller 1", "patient": "M", "source": "table"},
        **{"set": "training", "intensity": "HU"},
    }
    assert (second["patient"], second["set"], second["intensity"], second["picture_axes"]) == (
        *(None, "validation", "8bit", "PL"),
    )


def test_every_mistake_is_named_with_its_row(tmp_path: Path) -> None:
    files(tmp_path, "a.nii", "b.nii", "m.nii")
    rows = "a.nii,m.nii,A,1\nno.nii,gone.nii,B,2\nb.nii,m.nii,A,2\na.nii,m.nii,C,both\n"
    with pytest.raises(ValueError, match=r"cases.csv: 5 mistakes") as error:
        own_cases(table(tmp_path, "image,mask,patient,set\n" + rows), "mask")
    for part in (
        "line 3: image no.nii: no such file",
        "line 3: mask gone.nii: no such file",
        "line 5: image a.nii is listed already in line 2",
        "line 5: set must be training, validation, test or the number of a fold, got 'both'",
        "patient A must be in one set, is in 1 (line 2) and 2 (line 4)",
    ):
        assert part in str(error.value)


def test_a_mistyped_column_is_refused_and_another_one_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files(tmp_path, "a.nii", "m.nii")
    with pytest.raises(ValueError, match=r"no column 'pateint'. Did you mean patient"):
        own_cases(table(tmp_path, "image,mask,pateint\na.nii,m.nii,A\n"), "mask")
    for column, meant in (("Fold", "set"), ("split", "set"), ("subject", "patient"), ("lung mask", "lung")):
        with pytest.raises(ValueError, match=f"no column '{column}'. Did you mean {meant}"):
            own_cases(table(tmp_path, f"image,mask,{column}\na.nii,m.nii,1\n"), "mask")
    with caplog.at_level(logging.INFO):
        own_cases(table(tmp_path, "image,mask,age,sex\na.nii,m.nii,7,f\n"), "mask")
    assert "columns that are not read: age, sex." in caplog.text


def test_rows_without_a_mask_are_left_out_by_name(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    files(tmp_path, "a.nii", "b.nii", "m.nii")
    with caplog.at_level(logging.INFO):
        (case,) = lesions("phantom", datalist=table(tmp_path, "image,mask\na.nii,m.nii\nb.nii,\n"))
    assert case["case"] == "a" and case["patient"] == "a"
    assert "1 rows have no mask and are left out: b.nii (line 3)." in caplog.text
    assert "names no patient for 1 volumes (a): each counts as a patient of its own" in caplog.text
    with pytest.raises(ValueError, match="no row can be used, of 1"):
        own_cases(table(tmp_path, "image\nb.nii\n"), "mask")


def test_monai_datalist_gives_the_cases_of_its_lists_and_folds(tmp_path: Path) -> None:
    files(tmp_path, *(f"{kind}/{name}.nii" for kind in "im" for name in "abcd"))
    content: dict[str, Any] = {
        "name": "task",
        "training": [{"image": f"i/{name}.nii", "label": f"m/{name}.nii", "fold": k} for k, name in enumerate("abc")],
        "testing": [{"image": "i/d.nii", "label": "m/d.nii"}],
    }
    path = tmp_path / "cases.json"
    path.write_text(json.dumps(content))
    cases = own_cases(path, "mask")
    assert [(case["case"], case["label"].name, case["set"]) for case in cases] == [
        *(("i/a", "a.nii", 0), ("i/b", "b.nii", 1), ("i/c", "c.nii", 2), ("i/d", "d.nii", "test")),
    ]
    sides = split(cases, fold=1)
    assert {name: [case["case"] for case in side] for name, side in sides.items()} == {
        **{"training": ["i/a", "i/c"], "validation": ["i/b"], "test": ["i/d"]},
    }
    content["validation"] = [content["training"].pop()]
    for entry in (*content["training"], *content["validation"]):
        del entry["fold"]
    path.write_text(json.dumps(content))
    assert [case["set"] for case in own_cases(path, "mask")] == ["training", "training", "test", "validation"]
    path.write_text(json.dumps({"training": [{"image": ["i/a.nii", "i/b.nii"], "label": "m/a.nii"}]}))
    with pytest.raises(ValueError, match=r"training\[0\]: image must be one value, got several"):
        own_cases(path, "mask")


def test_inference_takes_the_files_of_a_table_and_no_others(tmp_path: Path) -> None:
    files(tmp_path, "i/a.nii.gz", "i/b.nii.gz", "i/b_seg.nii.gz", "c/c.nii.gz")
    path = table(tmp_path, "image;mask\ni\\b.nii.gz;i/b_seg.nii.gz\nc/c.nii.gz;\n")
    assert [(case["case"], case["image"]) for case in inference_cases(path)] == [
        ("c/c", [tmp_path / "c" / "c.nii.gz"]),
        ("i/b", [tmp_path / "i" / "b.nii.gz"]),
    ]
    with pytest.raises(ValueError, match=r"cases\.csv: 1 mistake:\n.*line 3: image i/d\.nii: no such file"):
        inference_cases(table(tmp_path, "image\ni/a.nii.gz\ni/d.nii\n"))


def test_inference_on_ct_reads_what_a_table_says_of_its_scans(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    files(tmp_path, "i/a.nii.gz", "i/b.png", "i/c.nii.gz", "lungs/of_a.nii.gz", "other/c.nii.gz")
    path = table(
        tmp_path,
        "image,lung,intensity,picture_axes,age\n"
        "i/a.nii.gz,lungs/of_a.nii.gz,,,\ni/b.png,,,LP,\ni/c.nii.gz,lungs/of_a.nii.gz,8bit,,\n",
    )
    found = {case["case"]: case for case in inference_cases(path, picture_axes="PL", partners={"lung": ""})}
    assert caplog.text.count("columns that are not read: age.") == 1, "the table is read twice, and tells it once"
    assert [case.get("lung") for case in found.values()] == [
        tmp_path / "lungs/of_a.nii.gz",
        None,
        tmp_path / "lungs/of_a.nii.gz",
    ]
    assert [case["intensity"] for case in found.values()] == ["HU", "8bit", "8bit"]
    assert [case["picture_axes"] for case in found.values()] == ["PL", "LP", "PL"]
    given = {case["case"]: case for case in inference_cases(path, partners={"lung": str(tmp_path / "other")})}
    assert given["i/c"]["lung"] == tmp_path / "other/c.nii.gz", "--lung_masks wins over the table"
    with pytest.raises(ValueError, match=r"line 3: image i/a\.nii\.gz is listed twice"):
        inference_cases(table(tmp_path, "image,lung\ni/a.nii.gz,lungs/of_a.nii.gz\ni/a.nii.gz,other/c.nii.gz\n"))
    with pytest.raises(ValueError, match=r"holds several scans, .* but has one lung mask"):
        inference_cases(table(tmp_path, "image,lung\ni,lungs/of_a.nii.gz\n"))
    for text, wrong in (
        ("lungs/none.nii,", "lung lungs/none.nii: no such file"),
        (",hu", "must be HU or 8bit, got 'hu'"),
        ("lungs/none.nii,", "cases.csv: 1 mistake:"),
    ):
        with pytest.raises(ValueError, match=wrong):
            inference_cases(table(tmp_path, f"image,lung,intensity\ni/a.nii.gz,{text}\n"))
    with pytest.raises(ValueError, match=r"b\.png is a picture, whose grey levels are 8bit, but its row says HU"):
        inference_cases(table(tmp_path, "image,intensity\ni/b.png,HU\n"))


def cases(*sets: Any) -> list[dict[str, Any]]:
    return [
        {"image": str(number), "case": str(number), "patient": str(number), **({} if name is None else {"set": name})}
        for number, name in enumerate(sets)
    ]


def test_sets_of_a_table_win_over_any_split() -> None:
    for kind in ("patient", "slice", "paper"):
        sides = split(cases("validation", "training", "test"), kind, fold=3, folds=9)
        assert [len(sides[name]) for name in ("training", "validation", "test")] == [1, 1, 1]
        assert sides["validation"][0]["case"] == "0"
    sides = three_way_split(cases(0, 1, 2, 2))  # the first fold is tested, the next one validates
    assert [[case["case"] for case in sides[name]] for name in ("test", "validation", "training")] == [
        *(["0"], ["1"], ["2", "3"]),
    ]
    sides = split(cases(None, None, "test"), "patient", fold=0, folds=2)
    assert [case["case"] for case in sides["test"]] == ["2"] and len(sides["training"]) == 1
    assert given_sets(cases(None, None)) is None


@pytest.mark.parametrize(
    ("sets", "tested", "message"),
    [
        (("training", "training"), False, "The set validation is empty"),
        (("training", "validation"), True, "The set test is empty"),
        ((0, 1), True, "The set training is empty"),
        ((None, "test"), True, "The table names test cases and no others"),
    ],
)
def test_an_empty_set_is_refused_by_name(sets: tuple[Any, ...], tested: bool, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        given_sets(cases(*sets), tested=tested)


def test_a_fold_that_the_table_lacks_is_refused() -> None:
    with pytest.raises(ValueError, match=r"The table has 3 folds \(1, 2, 5\); --fold is 0 to 2, got 3"):
        split(cases(1, 2, 5), fold=3)


def test_label_maps_are_read_as_text_and_as_mappings() -> None:
    expected = {1.0: "ground-glass", 5.0: "consolidation"}
    assert read_label_map("{1: ground-glass, 5: consolidation}") == expected
    assert read_label_map({"1": "ground-glass", 5: "consolidation"}) == expected
    assert read_label_map({}) == {} == read_label_map(None)
    with pytest.raises(ValueError, match=r"no name 'ground glass'. Did you mean ground-glass"):
        lesions("phantom", label_map={1: "ground glass"})
    with pytest.raises(ValueError, match="--label_map maps values of masks to classes"):
        read_label_map("ground-glass")


def test_labels_of_images_and_diagnoses_are_read(tmp_path: Path) -> None:
    files(tmp_path, "a.png", "b.png", "v.nii", "m.nii", "c.mp4")
    text = "image,label,mask,patient\na.png,0,,A\nb.png,lesion,,B\nv.nii,,m.nii,C\n"
    found = image_labels("phantom", datalist=table(tmp_path, text))
    assert [case["label"] for case in found] == [0, 1, tmp_path / "m.nii"]
    with pytest.raises(ValueError, match="a volume needs a mask"):
        image_labels("phantom", datalist=table(tmp_path, "image,label\nv.nii,1\n"))
    text = "image,label,patient\na.png,Pneumonia_viral,A\nc.mp4,COVID,B\n"
    assert [case["label"] for case in diagnoses("phantom", table(tmp_path, text))] == ["pneumonia", "COVID-19"]
    with pytest.raises(ValueError, match=r"line 2: label must be one of .*normal.*, got 'flu'"):
        diagnoses("phantom", table(tmp_path, "image,label\na.png,flu\n"))
    (case,) = pixel_labels("phantom", table(tmp_path, "image,label\na.png,b.png\n"), {3: "A-line"})
    assert case["label"] == tmp_path / "b.png" and case["label_map"] == {3.0: "A-line"}


def test_a_table_and_a_folder_together_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"Give the table with --datalist, or a public source with --dataset_dir"):
        lesions(tmp_path, datalist="cases.csv")
    with pytest.raises(FileNotFoundError, match=r"No such table: gone.csv"):
        lesions("phantom", datalist="gone.csv")
