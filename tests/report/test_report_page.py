"""The page on the cases of a run: what it holds, that it is safe and small, and that it works in a browser."""

from __future__ import annotations

import csv
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
from browser import Browser, browser
from PIL import Image
from report_page import FAILED, METADATA, NASTY, NOTE, finished_run

from common.datasets.walk import walk
from common.report.html.facts import weights_card
from common.report.html.inference import write_inference_page
from common.report.html.scores import write_scores_page
from common.report.html.unusual import outliers
from common.run.model_record import save_weights
from common.statistics import Estimate
from common.tables import write_csv


class Parsed(HTMLParser):
    """Tags, attributes, and the text of a page's table by rows."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.attributes: list[tuple[str, str]] = []
        self.rows: list[list[str]] = []
        self.feed(path.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th") and self.rows:
            self.rows[-1].append("")

    def handle_data(self, data: str) -> None:
        if self.rows and self.rows[-1]:
            self.rows[-1][-1] += data.strip("\n")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a finished inference over phantoms."""
    folder = tmp_path_factory.mktemp("run")
    finished_run(folder)
    return folder


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory, run: Path) -> Iterator[Browser]:
    """The page in a browser."""
    with browser(tmp_path_factory.mktemp("profile")) as opened:
        opened.open(run / "report.html")
        yield opened


def shown(page: Browser) -> list[str]:
    """Names of the cases that are shown, in their order."""
    return page.run("[...document.querySelectorAll('#cases tbody tr')].filter(r => r.offsetParent)"
                    ".map(r => r.querySelector('th').textContent)")  # fmt: skip


def soon(check: Callable[[], bool]) -> None:
    """Wait until something is true."""
    for _ in range(100):
        if check():
            return
        time.sleep(0.05)
    assert check()


def test_each_case_stands_in_the_page_with_its_numbers_and_the_failed_one_with_its_reason(run: Path) -> None:
    found = Parsed(run / "report.html")
    with (run / "lesions.csv").open() as file:
        table = {row["case"]: row for row in csv.DictReader(file)}
    heading, *rows = found.rows
    lung, share = heading.index("Lung, ml"), heading.index("Share of lung, %")
    by_name = {row[1]: row for row in rows}
    assert len(rows) == 7 and by_name.keys() == {*table, FAILED}
    for name, row in table.items():
        assert by_name[name][lung] == f"{float(row['lung_ml']):.1f}"
        assert by_name[name][share] == (f"{100 * float(row['share_of_lung']):.1f}" if row["share_of_lung"] else "-")
    assert by_name[FAILED][2] == "✕ failedslices are missing between 3 and 4 (gap 15.0 mm). Copy the series again."
    assert by_name["CT-2/patient_2"][2] == f"! unusualWarning: {NOTE}"
    assert by_name["CT-0/patient_5"][2] == "! unusualUnusual: no lung found"
    text = (run / "report.html").read_text()
    assert "<dt>threshold</dt><dd>0.5</dd>" in text and "os.path" not in text, "settings that are values"
    assert "not for diagnosis" in text and "<li>notes.txt: unknown format</li>" in text


def test_a_page_is_self_contained_and_names_are_harmless(run: Path) -> None:
    found = Parsed(run / "report.html")
    assert found.tags["script"] == found.tags["style"] == 1 and found.tags["link"] == found.tags["iframe"] == 0
    assert found.tags["img"] == 6 + 1, "one for each case that is done, and the large one"
    sources = [value for name, value in found.attributes if name == "src"]
    assert len(sources) == 6 and all(value.startswith("data:image/jpeg;base64,") for value in sources)
    links = [value for name, value in found.attributes if name == "href"]
    assert all(value.startswith("./") or value == "#" for value in links)
    assert not any(name.startswith("on") or name == "style" for name, _ in found.attributes)
    assert any(NASTY in value for _, value in found.attributes)


def test_a_later_run_does_not_read_the_page(run: Path) -> None:
    assert (run / "report.html", "output of an earlier run") in walk(run).omitted


def test_200_cases_take_less_than_5_mb(tmp_path: Path, rng: np.random.Generator) -> None:
    records = []
    picture = rng.integers(0, 256, (38, 100, 3), np.uint8)  # noise is harder to compress than a scan
    Image.fromarray(picture).resize((700, 266), Image.Resampling.BICUBIC).save(tmp_path / "0_overlay.png")
    for number in range(200):
        if number:
            (tmp_path / f"{number}_overlay.png").hardlink_to(tmp_path / "0_overlay.png")
        volumes = {"lung_ml": 4000.0, "lesion_ml": 100.0, "share_of_lung": 0.025, "severity": "CT-1"}
        outputs = {f"{number}_overlay.png": 1, f"{number}_mask.nii.gz": 1}
        records.append({"case": str(number), "volumes": volumes, "warnings": ["w" * 300], "outputs": outputs})
    path = write_inference_page(tmp_path, records, {}, METADATA)
    assert 2_000_000 < path.stat().st_size < 5_000_000
    assert Parsed(path).tags["img"] == 201


def test_a_case_is_unusual_if_it_lies_outside_of_tukeys_fences() -> None:
    """Quartiles of 1 to 9 are 3 and 7: fences at -3 and 13."""
    assert outliers([*range(1, 9), 9.0, None]) == {}
    assert outliers([*range(1, 9), 12.9]) == {}
    assert outliers([*range(1, 8), -40, 40.0]) == {7: "low", 8: "high"}
    assert outliers([1, 1, 1, 40]) == {}, "too few"
    assert outliers([0] * 20 + [1]) == {}, "no spread"


def test_the_card_shows_the_record_of_the_weights_and_not_that_of_others(tmp_path: Path) -> None:
    members = {"patient_1": "0123456789abcdef"}
    record = {
        "settings": {"size": [64, 64]},
        "data": {"source": "medseg", "cases": {"training": 8}, "training": members},
    }
    save_weights({"x": torch.zeros(1)}, tmp_path / "model.pt", record)
    card = weights_card(METADATA, tmp_path / "model.pt")
    assert card["name"] == "DRSegUNet: COVID-19 lesions in chest CT"
    assert card["weights: settings"] == "size 64, 64"
    assert card["weights: data"] == "source medseg, cases training 8", "without the names of patients"
    (tmp_path / "model.pt").write_bytes(b"other")
    assert "weights: settings" not in weights_card(METADATA, tmp_path / "model.pt")


def test_an_evaluation_shows_scores_of_cases_and_only_what_its_run_has_written(tmp_path: Path) -> None:
    write_csv(tmp_path / "old.csv", ["class", "dice"], [["before", 0.1]])
    time.sleep(0.02)
    (tmp_path / "run_evaluating.json").write_text(json.dumps({"command": "evaluating"}))
    (tmp_path / "config_evaluating.json").write_text(json.dumps({"fold": 1}))
    scores = [["ground-glass", Estimate(0.75, 0.6, 0.85, 12), "12 patients"], ["mean", Estimate(0.5), "none"]]
    write_csv(tmp_path / "scores.csv", ["class", "dice", "interval_over"], scores)
    slices = [["a", 0, 0.5], ["a", 1, 1.0], ["b", 0, None], ["b", 1, 0.25], *([f"c{n}", 0, 0.9] for n in range(3))]
    slices += [[f"d{number}", 0, 0.8 + 0.01 * number] for number in range(5)]
    slices = [[case, "", *numbers] for case, *numbers in slices]  # patients that are not named
    write_csv(tmp_path / "scores_per_slice.csv", ["case", "patient", "slice", "dice_lesion"], slices)
    Image.new("RGB", (800, 400)).save(tmp_path / "evaluation.png")
    found = Parsed(write_scores_page(tmp_path, METADATA))
    rows = {row[0]: row[1:] for row in found.rows}
    assert rows["ground-glass"] == ["0.7500 [0.600, 0.850]", "12 patients"] and "before" not in rows
    assert rows["a"] == ["✓ done", "0.750", "2"], "mean over its slices"
    assert rows["b"] == ["! unusualUnusual: Dice lesion is low", "0.250", "2"]
    assert found.tags["figure"] == 1
    assert "95 % interval by bootstrap" in (tmp_path / "report.html").read_text()
    assert "<dt>fold</dt><dd>1</dd>" in (tmp_path / "report.html").read_text()


def test_the_table_is_sorted_by_clicks_and_by_keyboard(page: Browser) -> None:
    column = "#cases thead th:nth-child({}) button"
    lung = page.run(
        "[...document.querySelectorAll('#cases thead th')].findIndex(h => h.textContent === 'Lung, ml') + 1"
    )
    value = f"[...document.querySelectorAll('#cases tbody td:nth-child({lung})')].map(c => parseFloat(c.dataset.v))"
    page.click(column.format(lung))
    *known, missing = page.run(value)
    assert known == sorted(known) and missing is None and shown(page)[-1] == FAILED
    page.run(f"document.querySelector('{column.format(lung)}').focus()")
    page.press("Enter")
    *known, missing = page.run(value)
    assert known == sorted(known, reverse=True) and missing is None, "a missing number is last either way"
    sorts = page.run("[...document.querySelectorAll('#cases th')].map(h => h.getAttribute('aria-sort')).filter(s => s)")
    assert sorts.count("descending") == 1 and set(sorts) == {"descending", "none"}
    page.click(column.format(2))
    names = ["CT-0/patient_0", "CT-0/patient_5", "CT-1/patient_1", "CT-2/patient_2", "CT-3/patient_3", FAILED]
    assert [name for name in shown(page) if name != NASTY] == names


def test_filters_show_failed_unusual_and_severities(page: Browser) -> None:
    page.click("[data-show=failed]")
    assert shown(page) == [FAILED]
    assert page.run("document.querySelector('[data-show=failed]').getAttribute('aria-pressed')") == "true"
    page.click("[data-show=unusual]")
    assert sorted(shown(page)) == ["CT-0/patient_5", "CT-2/patient_2"]
    assert page.run("document.getElementById('count').textContent") == "2 of 7 shown"
    page.click("[data-show=all]")
    set_to = "g = document.getElementById('{}'); g.value = '{}'; g.dispatchEvent(new Event('{}'))"
    page.run("var " + set_to.format("group", "CT-0", "change"))
    assert shown(page) == ["CT-3/patient_3"]
    page.run(set_to.format("group", "", "change"))
    page.run(set_to.format("words", "PATIENT_1", "input"))
    assert shown(page) == ["CT-1/patient_1"]
    page.run(set_to.format("words", "", "input"))
    assert len(shown(page)) == 7


def test_a_picture_opens_large_with_arrows_and_escape(page: Browser, run: Path, tmp_path: Path) -> None:
    state = "document.getElementById('viewer').open"
    large = "document.getElementById('large')"
    page.run("document.querySelectorAll('a.open')[1].focus()")
    page.press("Enter")
    soon(lambda: page.run(f"{state} && {large}.naturalWidth") == 1600 or page.run(f"{large}.naturalWidth") > 640)
    first = page.run("document.getElementById('caption').textContent")
    assert "Lung " in first and " ml" in first
    page.press("ArrowRight")
    assert page.run("document.getElementById('caption').textContent") != first
    page.press("ArrowLeft")
    assert page.run("document.getElementById('caption').textContent") == first
    page.press("Escape")
    soon(lambda: not page.run(state))
    assert page.run("document.activeElement === document.querySelectorAll('a.open')[1]"), "the focus is back"
    page.click("a.open")
    assert page.run(state) and not page.run("document.getElementById('missing').hidden === false")
    page.screenshot(tmp_path / "large.png")
    assert np.asarray(Image.open(tmp_path / "large.png").convert("L")).std() > 20
    page.press("Escape")


def test_the_browser_refuses_nothing_and_loads_nothing_else(page: Browser) -> None:
    assert page.problems() == []
    assert all(url.startswith("file:") for url in page.requests())


def test_without_the_overlay_the_thumbnail_is_shown(page: Browser, run: Path, tmp_path: Path) -> None:
    alone = tmp_path / "report.html"
    alone.write_bytes((run / "report.html").read_bytes())
    page.open(alone)
    page.click("a.open")
    soon(lambda: page.run("!document.getElementById('missing').hidden"))
    soon(lambda: page.run("document.getElementById('large').naturalWidth") == 640)
    assert page.run("document.getElementById('file').hidden")
