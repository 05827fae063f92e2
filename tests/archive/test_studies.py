"""Which studies an archive holds, and what its journal says of them."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from common.archive.journal import Journal, NoSpace
from common.archive.sources import Study, of_folders, of_list
from common.archive.worker import kind


def make(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


def names(studies: list[Study]) -> list[str]:
    return [study.name for study in studies]


def test_a_study_is_each_folder_and_each_scan_in_a_folder(tmp_path: Path) -> None:
    root = make(
        tmp_path / "ct", "a.nii.gz", "a_mask.nii.gz", "b/1.dcm", "b/2.dcm", "table.csv", ".hidden", "._a.nii.gz"
    )
    make(root, "Thumbs.db", "@eaDir/x", "earlier/journal.sqlite", "out/x.nii.gz", "c/d/1.dcm")
    assert names(of_folders([root], output_dir=root / "out")) == ["ct/a.nii.gz", "ct/b", "ct/c"]
    deep = of_folders([root], depth=2, output_dir=root / "out")
    assert names(deep) == ["ct/a.nii.gz", "ct/b/1.dcm", "ct/b/2.dcm", "ct/c/d"], "files above the depth count, too"
    assert deep[0] == Study("ct/a.nii.gz", str(root / "a.nii.gz"), str(root))


def test_folders_of_the_same_name_and_missing_ones_are_refused(tmp_path: Path) -> None:
    roots = [make(tmp_path / side / "ct", "a.nii.gz") for side in ("one", "two")]
    with pytest.raises(ValueError, match=r"would both be the study ct/a\.nii\.gz\. Give a list of paths with --list"):
        of_folders(roots)
    with pytest.raises(FileNotFoundError, match=r"No such folder: .*nowhere"):
        of_folders([tmp_path / "nowhere"])


def test_a_list_names_studies_by_their_path(tmp_path: Path) -> None:
    listed = tmp_path / "list.txt"
    listed.write_text("# chosen\none/ct/a\n\n../elsewhere/b\none/ct/a\n")
    found = of_list(listed)
    assert [study.place for study in found] == [str(tmp_path / "one/ct/a"), str(tmp_path.parent / "elsewhere/b")]
    assert names(found) == ["one/ct/a", str(tmp_path.parent / "elsewhere/b").lstrip("/")]


def test_a_study_that_fails_is_tried_again_and_then_set_aside(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.sqlite")
    journal.start({"bundle": "b", "weights": "abc"})
    assert journal.add([Study(name, f"/data/{name}") for name in "abcd"]) == 4
    assert journal.add([Study("a", "/data/a")]) == 0, "known"
    journal.begin("a")
    journal.begin("d")
    assert journal.finish("a", {"status": "failed", "reason": "bad"}) == "failed"
    assert names(journal.left()) == ["b", "c", "a", "d"], "new ones, failed ones, those that a kill has interrupted"
    assert journal.finish("a", {"status": "failed", "reason": "bad again"}) == "set aside"
    assert journal.finish("b", {"status": "done", "scans": [{"case": "b"}], "seconds": 2.5, "host": "h"}) == "done"
    assert names(journal.left()) == ["c", "d"]
    assert journal.counts() == {"done": 1, "set aside": 1, "running": 1, "waiting": 1}
    journal.close()
    with sqlite3.connect(tmp_path / "journal.sqlite") as base:  # which failed, why, with which weights
        query = "select study, reason, weights, attempts from studies where status = 'set aside'"
        assert base.execute(query).fetchall() == [("a", "bad again", "abc", 2)]
    journal = Journal(tmp_path / "journal.sqlite")
    assert journal.retry() == 1 and names(journal.left()) == ["a", "c", "d"] and journal.attempts("a") == 0
    with pytest.raises(ValueError, match=r"Study a was at /data/a before, and is at /other/a now"):
        journal.add([Study("a", "/other/a")])
    with pytest.raises(ValueError, match=r"holds an archive with other settings: weights was abc, now xyz"):
        journal.start({"bundle": "b", "weights": "xyz"})


def test_a_journal_on_a_full_disk_keeps_what_it_had(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.sqlite")
    journal.add([Study("a", "/data/a")])
    journal._base.execute(f"pragma max_page_count = {journal._base.execute('pragma page_count').fetchone()[0]}")
    with pytest.raises(NoSpace, match=r"journal\.sqlite: no space is left on the disk"):
        journal.add([Study(f"study {number}", "/data" * 50) for number in range(200)])
    assert names(journal.left()) == ["a"]


def test_reasons_are_counted_without_names_and_numbers() -> None:
    assert kind("p7: 3 slices are missing at 12.5 mm. Copy it.") == kind("p8: 11 slices are missing at 5 mm; p9: x")
    assert kind("bad: /data/bad.nii.gz: cannot be read: it is damaged.") == "cannot be read: it is damaged"
