"""The ledger of inference: which cases are done, and tables that always fit the files."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Hashable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from csv_rows import rows

from common.datasets.inference import KeepGoing, ScanDataset
from common.report.case_report import CaseReport
from common.report.ledger import Ledger, running_settings, warnings_of
from common.report.scan_ledger import ScanLedger

CASES = ("a", "b", "sub/c")


class Killed(BaseException):
    """The end of a process."""


class Copy(CaseReport):
    """Write a case's content twice and record its length. It stands for a network and its reports."""

    def __init__(self, output_dir: Path, ledger: Ledger, mark: str) -> None:
        super().__init__("image", output_dir)
        self.ledger, self.mark = ledger, mark
        ledger.add_table(output_dir / "lengths.csv", ["case", "length"], self._rows)

    def _rows(self, case: str, record: Mapping[str, Any]) -> list[dict[str, Any]]:
        return [{"case": case, "length": record["length"]}]

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        item = dict(data)
        for ending in ("_mask.txt", "_overlay.txt"):
            self.path(item, ending).write_text(item["content"] + self.mark)
        self.ledger.record(item, {"length": len(item["content"])})
        return item


class Run:
    """An inference over text files."""

    def __init__(self, folder: Path) -> None:
        self.source, self.out, self.weights = folder / "in", folder / "out", folder / "model.pt"
        self.weights.write_text("weights")
        for case in CASES:
            self.write(case, case)

    def write(self, case: str, content: str) -> None:
        path = self.source / f"{case}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)

    def __call__(self, mark: str = "", again: bool = False, source: Path | None = None) -> list[str]:
        """Run, and return the cases that were read."""
        source = source or self.source
        read: list[str] = []

        def load(case: Mapping[str, Any]) -> dict[str, Any]:
            read.append(case["case"])
            content = case["image"].read_text()
            if content == "bad":
                raise ValueError("it is bad")
            return {"case": case["case"], "content": content, "kind": "text"}

        files = sorted(source.rglob("*.txt"))
        cases = [
            {"case": file.relative_to(source).with_suffix("").as_posix(), "image": file, "kind": "text"}
            for file in files
        ]
        ledger = Ledger(self.out / "cases.json", source, self.weights, again=again, settings={"mark": mark})
        work = KeepGoing([Copy(self.out, ledger, mark)])
        dataset = ScanDataset(cases, load, ledger)
        for item in dataset:
            work(item)
        dataset.finish(work.failures)
        return read

    def files(self) -> dict[str, str]:
        """All files but the ledger and the page on it, with their content."""
        skipped = ("cases.json", "report.html")
        found = sorted(path for path in self.out.rglob("*") if path.is_file() and path.name not in skipped)
        return {path.relative_to(self.out).as_posix(): path.read_text() for path in found}

    def ledger(self) -> dict[str, Any]:
        return dict(json.loads((self.out / "cases.json").read_text()))

    def recorded(self, part: str = "cases") -> list[str]:
        return [record["case"] for record in self.ledger()[part]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path)


def test_complete_cases_are_not_done_again(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    assert run() == list(CASES)
    before = run.files()
    run.write("0", "first")
    with caplog.at_level(logging.INFO):
        assert run() == ["0"]
    assert "3 of 4 cases were done before; --again True does them again." in caplog.messages
    assert [row["case"] for row in rows(run.out / "lengths.csv")] == ["0", *CASES], "sorted by case"
    assert before.items() - run.files().items() == {("lengths.csv", before["lengths.csv"])}
    assert run(again=True) == ["0", *CASES]
    assert run() == []


def test_a_record_says_what_a_case_was_made_of(run: Run) -> None:
    run()
    record = run.ledger()["cases"][2]
    assert record["input"]["files"] == {"image": ["sub/c.txt"]} and record["input"]["kind"] == "text"
    assert record["outputs"] == {"sub/c_mask.txt": 5, "sub/c_overlay.txt": 5}
    assert record["weights"]["file"] == "model.pt" and len(record["weights"]["sha256"]) == 64
    assert record["seconds"] >= 0 and record["warnings"] == [] and len(record["settings"]) == 64


def test_changed_input_is_done_again_and_nothing_else(run: Run) -> None:
    run()
    run.write("b", "other")
    os.utime(run.source / "a.txt", (1, 1))  # content counts, not time
    assert run() == ["b"]
    assert run.files()["b_mask.txt"] == "other"


def test_other_weights_or_settings_do_all_cases_again(run: Run) -> None:
    run()
    assert run(mark="!") == list(CASES)
    assert run.files()["a_mask.txt"] == "a!"
    run.weights.write_text("trained longer")
    assert run(mark="!") == list(CASES)
    assert run(mark="!") == []


@pytest.mark.parametrize("harm", ["removed", "truncated"])
def test_missing_or_truncated_outputs_are_made_again(run: Run, harm: str) -> None:
    run()
    expected = run.files()
    path = run.out / "sub" / "c_overlay.txt"
    if harm == "removed":
        path.unlink()
    else:
        path.write_text("sub")
    assert run() == ["sub/c"]
    assert run.files() == expected


def test_a_failed_case_has_no_record_and_no_outputs_of_its_earlier_content(run: Run) -> None:
    run()
    run.write("b", "bad")
    for _ in range(2):  # it is tried each time
        with pytest.raises(ValueError, match="1 of 3 cases failed:\n  b: it is bad"):
            run()
        assert run.recorded() == ["a", "sub/c"] and run.recorded("earlier") == []
        assert [name for name in run.files() if name.startswith("b")] == []
        assert [row["case"] for row in rows(run.out / "lengths.csv")] == ["a", "sub/c"]
    run.write("b", "good")
    assert run() == ["b"]


def test_cases_of_another_input_keep_their_files_and_leave_the_tables(run: Run, tmp_path: Path) -> None:
    run()
    other = tmp_path / "other"
    other.mkdir()
    (other / "x.txt").write_text("x")
    (other / "a.txt").write_text("another a")
    assert run(source=other) == ["a", "x"]
    assert [row["case"] for row in rows(run.out / "lengths.csv")] == ["a", "x"]
    assert run.recorded() == ["a", "x"] and run.recorded("earlier") == ["b", "sub/c"]
    assert {"b_mask.txt", "sub/c_overlay.txt"} <= run.files().keys()
    assert run() == ["a"], "b and c are as they were"
    assert [row["case"] for row in rows(run.out / "lengths.csv")] == list(CASES)


def test_a_run_killed_at_any_write_ends_as_one_that_was_not(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    run(mark="?")  # outputs of other settings lie there
    undisturbed = Run(tmp_path / "undisturbed")
    undisturbed()
    replace, kills = os.replace, 0
    for moment in range(100):
        count = 0

        def counted(*paths: Any, last: int = moment) -> None:
            nonlocal count
            if count == last:
                raise Killed
            count += 1
            replace(*paths)

        with monkeypatch.context() as patch:
            patch.setattr("os.replace", counted)
            try:
                run()
                break
            except Killed:
                kills += 1
        listed = [(run.out / f"{row['case']}_mask.txt").read_text() for row in rows(run.out / "lengths.csv")]
        assert len({text.endswith("?") for text in listed}) <= 1, "a table never mixes settings"
        run()
        assert run.files() == undisturbed.files()
        run(mark="?")
    assert kills > 10
    assert run.files() == undisturbed.files()


@pytest.fixture(autouse=True)
def folder_of_undisturbed_run(tmp_path: Path) -> None:
    (tmp_path / "undisturbed").mkdir()


def test_a_damaged_ledger_is_named_and_all_cases_are_done(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    run()
    (run.out / "cases.json").write_text('{"cases": [')
    assert run() == list(CASES)
    assert "cases.json cannot be read" in caplog.text


def test_outputs_outside_the_folder_are_never_removed(run: Run) -> None:
    run()
    content = run.ledger()
    for record in content["cases"]:
        record["outputs"] = {str(run.weights): 7, "../in/a.txt": 1}
    (run.out / "cases.json").write_text(json.dumps(content))
    assert run(again=True) == list(CASES)
    assert run.weights.is_file() and (run.source / "a.txt").is_file()


@pytest.mark.parametrize("change", ["settings", "cases"])
def test_records_of_another_form_are_done_again(run: Run, change: str) -> None:
    run()
    content = run.ledger()
    for record in content["cases"]:
        record["outputs" if change == "settings" else "length"] = None
        record.pop("length" if change == "cases" else "settings")
    (run.out / "cases.json").write_text(json.dumps(content))
    assert run() == list(CASES)


def test_a_name_that_is_too_long_fails_its_case_only(run: Run) -> None:
    run.write("n" * 245, "long")
    with pytest.raises(ValueError, match=r"1 of 4 cases failed") as error:
        run()
    assert "names of outputs may have 249 bytes" in str(error.value)
    assert "Give the scan a shorter name" in str(error.value)
    assert run.recorded() == list(CASES)


def test_names_that_are_not_utf_8_lose_no_other_case(run: Run) -> None:
    name = os.fsdecode(b"caf\xe9")
    run.write(name, "latin-1")
    run()
    assert b"caf\xe9,7\n" in (run.out / "lengths.csv").read_bytes()
    assert run() == []


def test_data_beside_a_header_are_input(tmp_path: Path) -> None:
    names = {"mhd": ("a.mhd", "ElementDataFile = a.raw\n", "a.raw"), "img": ("b.img", "data", "b.hdr")}
    ledger = ScanLedger(tmp_path / "out" / "lesions.json", tmp_path, settings={})
    for header, content, data in names.values():
        (tmp_path / header).write_text(content)
        (tmp_path / data).write_text("1")
        case = {"case": "x", "image": [tmp_path / header], "lung": None, "gaps": "refuse"}
        assert ledger.files(case) == {"image": [tmp_path / header, tmp_path / data]}
    (tmp_path / "c.mhd").write_text("ElementDataFile = ../a.raw\n")
    assert ledger.files({"image": [tmp_path / "c.mhd"]}) == {"image": [tmp_path / "c.mhd"]}


def test_order_of_files_does_not_count_but_their_content_and_their_role_do(tmp_path: Path) -> None:
    one, two = tmp_path / "1.dcm", tmp_path / "2.dcm"
    one.write_text("1")
    two.write_text("2")
    ledger = Ledger(tmp_path / "cases.json", tmp_path, settings={})

    def identity(**case: Any) -> str:
        return str(ledger._input({"case": "x", **case})["sha256"])

    assert identity(image=[one, two]) == identity(image=[two, one])
    assert len({identity(image=[one]), identity(image=[two]), identity(image=[one], lung=two)}) == 3


def test_notes_and_library_warnings_are_listed_once() -> None:
    scan = SimpleNamespace(meta={"library_notes": [["pydicom: odd value"], "tilt"]})
    assert warnings_of({"notes": "tilt; 2 copies", "image": scan}) == ["tilt", "2 copies", "pydicom: odd value"]
    assert warnings_of({"notes": "", "image": None}) == [] and running_settings() == {}
