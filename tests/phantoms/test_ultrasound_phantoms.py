"""Tests of the synthetic lung ultrasound: reproducible, labels that agree with the image, diagnoses that overlap."""

from __future__ import annotations

import csv
import itertools
import subprocess
import sys
from collections import Counter
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import binary_dilation, label
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from common.phantoms.folders import SEED_BLOCK
from common.phantoms.ultrasound.figure import draw_ultrasound_phantoms
from common.phantoms.ultrasound.findings import DIAGNOSES
from common.phantoms.ultrasound.folder import phantom_dir
from common.phantoms.ultrasound.image import UltrasoundFrame, lung_ultrasound, lung_ultrasound_clip
from common.phantoms.ultrasound.labels import INDICES
from common.phantoms.ultrasound.layouts import COLLECTION_PATIENTS, write_pocus, write_semantic_lung
from common.phantoms.ultrasound.patient import make_patient, make_view
from common.phantoms.ultrasound.probe import PROBES

SMALL = (232, 312)
A, B, HEALTHY_LINE, UNHEALTHY_LINE, HEALTHY, UNHEALTHY, BACKGROUND = INDICES.values()
KINDS = list(itertools.product(PROBES, DIAGNOSES))


def random_frames(rng: np.random.Generator, probe: str, count: int) -> list[UltrasoundFrame]:
    """Frames of random patients, the diagnoses in turn; the seeds are printed for a failure."""
    seeds = rng.integers(0, 1_000_000, count)
    print(f"patients {seeds.tolist()}, view 1, {probe}")
    return [lung_ultrasound(int(seed), 1, DIAGNOSES[k % 3], probe, SMALL) for k, seed in enumerate(seeds)]


def runs(column: NDArray[np.bool_]) -> list[float]:
    """The middles of the runs of true values in a column, in rows counted from the upper edge of the image."""
    pieces, count = label(column)
    return [float(np.flatnonzero(pieces == k).mean()) + 0.5 for k in range(1, count + 1)]


@pytest.mark.parametrize(("probe", "diagnosis"), KINDS)
def test_arguments_name_the_frame(probe: str, diagnosis: str) -> None:
    frame = lung_ultrasound(3, 2, diagnosis, probe, SMALL)
    again = lung_ultrasound(3, 2, diagnosis, probe, SMALL)
    assert frame.image.dtype == frame.label.dtype == np.uint8
    assert frame.image.shape == frame.label.shape == SMALL
    np.testing.assert_array_equal(frame.image, again.image)
    np.testing.assert_array_equal(frame.label, again.label)
    for seed, view in ((4, 2), (3, 3)):
        assert (lung_ultrasound(seed, view, diagnosis, probe, SMALL).image != frame.image).mean() > 0.3
    assert set(np.unique(frame.label)) <= set(INDICES.values())


def test_still_is_the_first_frame_of_the_clip() -> None:
    clip = lung_ultrasound_clip(5, 1, "covid-19", "convex", SMALL, seconds=0.3, rate=10)
    still = lung_ultrasound(5, 1, "covid-19", "convex", SMALL)
    assert len(clip) == 3
    np.testing.assert_array_equal(clip[0].image, still.image)
    np.testing.assert_array_equal(clip[0].label, still.label)


@pytest.mark.parametrize("probe", PROBES)
def test_labels_agree_with_the_image(probe: str, rng: np.random.Generator) -> None:
    for k, frame in enumerate(random_frames(rng, probe, 30)):
        image = frame.image.astype(float)
        near_a_line = binary_dilation(frame.label == A, np.ones((15, 1), bool)) & (frame.label == HEALTHY)
        near_b_line = binary_dilation(frame.label == B, np.ones((1, 31), bool)) & np.isin(frame.label, (5, 6))
        lower = np.arange(SMALL[0])[:, None] > 0.7 * SMALL[0]
        brighter = [
            (frame.label == A, near_a_line, 8),
            (frame.label == B, near_b_line, 8),
            ((frame.label == B) & lower, near_b_line & lower, 8),
            (frame.label == HEALTHY_LINE, frame.label == HEALTHY, 50),
            (frame.label == UNHEALTHY_LINE, frame.label == UNHEALTHY, 30),
            (frame.label == UNHEALTHY_LINE, frame.label == B, 2),
        ]
        for pair, (bright, dark, least) in enumerate(brighter):
            if bright.sum() > 80 and dark.sum() > 80:
                difference = image[bright].mean() - image[dark].mean()
                assert difference > least, f"patient {k}, comparison {pair}: only {difference:.1f} grey levels"


@pytest.mark.parametrize("probe", PROBES)
def test_a_lines_lie_at_multiples_of_the_pleura(probe: str, rng: np.random.Generator) -> None:
    """Measured from the labels along columns of linear pictures, along the middle column of convex ones."""
    found = 0
    for seed in rng.integers(0, 1_000_000, 25):
        print(f"patient {seed}, {probe}")
        frame = lung_ultrasound(int(seed), 0, "normal", probe, (464, 624))
        # The face of the convex probe touches the skin in the first lit row.
        top = int(np.flatnonzero(frame.image[:, 312] > 0)[0]) if probe == "convex" else 0
        for column in range(12, 624, 60) if probe == "linear" else (312,):
            line = runs(frame.label[:, column] == HEALTHY_LINE)
            # Beside altered pleura the line wanders already; its echoes keep to the depth of the pleura at rest.
            beside = frame.label[:, max(0, column - 16) : column + 17]
            if len(line) != 1 or (beside == UNHEALTHY_LINE).any():
                continue
            spacing = line[0] - top
            for middle in runs(frame.label[:, column] == A):
                order = (middle - top) / spacing
                # A-lines cut by the lower edge have their middle elsewhere.
                if middle < 464 - 12:
                    assert round(order) >= 2
                    # The spacing is known to a row or so.
                    assert middle - top == pytest.approx(round(order) * spacing, abs=0.5 + 1.2 * round(order))
                    found += 1
    assert found > (50 if probe == "linear" else 15)


def test_b_lines_reach_the_bottom_and_erase_a_lines(rng: np.random.Generator) -> None:
    seen = 0
    for frame in random_frames(rng, "linear", 24):
        columns = np.flatnonzero((frame.label == B).any(axis=0))
        seen += len(columns)
        below = frame.label[:, columns]
        assert (below[-1] == B).all()
        assert not np.isin(below, (A, HEALTHY_LINE, HEALTHY)).any()
        for column in columns[::7]:
            rows = np.flatnonzero(frame.label[:, column] == B)
            line = np.flatnonzero(frame.label[:, column] == UNHEALTHY_LINE)
            assert (np.diff(rows) == 1).all()
            # Between the pleura and a B-line there is nothing, or the consolidation that it comes from.
            between = frame.label[line[-1] + 1 : rows[0], column]
            assert (between == UNHEALTHY).all()
    assert seen > 300


def test_regions_lie_below_their_pleura(rng: np.random.Generator) -> None:
    for frame in random_frames(rng, "linear", 12):
        healthy = (frame.label == HEALTHY_LINE).any(axis=0)
        unhealthy = (frame.label == UNHEALTHY_LINE).any(axis=0)
        assert not (healthy & unhealthy).any()
        for line, below in ((healthy, (A, HEALTHY)), (unhealthy, (B, UNHEALTHY))):
            assert np.isin(frame.label[-1, line], below).all()
        assert (frame.label[:, ~(healthy | unhealthy)] == BACKGROUND).all()
        assert (frame.label[:20] == BACKGROUND).all()


def test_a_convex_image_is_a_fan() -> None:
    for seed in range(4):
        frame = lung_ultrasound(seed, 0, "covid-19", "convex", (300, 400))
        probe = PROBES["convex"]
        depth = make_view(make_patient(seed), 0, probe).depth
        half = probe.face / probe.radius / 2
        width, height = 2 * (probe.radius + depth) * np.sin(half), probe.radius * (1 - np.cos(half)) + depth
        pixel = max(width / 400, height / 300)
        x = (np.arange(400) - 199.5) * pixel
        y = (np.arange(300)[:, None] + 0.5) * pixel + probe.radius * np.cos(half)
        beyond = np.maximum.reduce(
            [np.abs(np.arctan2(x, y)) - half, np.hypot(x, y) - probe.radius - depth, probe.radius - np.hypot(x, y)]
        )
        assert not frame.image[beyond > 1e-6].any()
        assert (frame.label[beyond > 1e-6] == BACKGROUND).all()
        assert 0.3 < (beyond > 0).mean() < 0.7
        assert (frame.label[beyond < -0.02] != BACKGROUND).any()


def test_diagnosis_changes_nothing_above_the_pleura() -> None:
    """Chest wall, gain, depth and speckle are those of the patient, so only the lung shows the diagnosis."""
    for seed in range(5):
        normal, *others = (lung_ultrasound(seed, 1, diagnosis, "linear", SMALL) for diagnosis in DIAGNOSES)
        for other in others:
            lung = (normal.label != BACKGROUND) | (other.label != BACKGROUND)
            wall = ~binary_dilation(lung, np.ones((41, 1), bool))
            assert wall.mean() > 0.05
            assert np.abs(normal.image[wall].astype(int) - other.image[wall]).max() <= 1


def test_same_chest_under_both_probes() -> None:
    for seed in range(5):
        views = [make_view(make_patient(seed), 2, probe) for probe in PROBES.values()]
        assert views[0].pleura == views[1].pleura
        np.testing.assert_array_equal(views[0].ribs, views[1].ribs)
        assert 40 <= views[0].depth <= 60 and 80 <= views[1].depth <= 160


def class_shares(patients: range, probe: str) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Shares of the seven labels (N, 7) in two views of each patient, and the diagnoses (N,)."""
    shares, diagnoses = [], []
    for seed in patients:
        for view in (0, 1):
            frame = lung_ultrasound(seed, view, DIAGNOSES[seed % 3], probe, (96, 128))
            shares.append(np.bincount(frame.label.ravel(), minlength=8)[1:] / frame.label.size)
            diagnoses.append(seed % 3)
    return np.array(shares), np.array(diagnoses)


@pytest.mark.parametrize("probe", PROBES)
def test_diagnoses_differ_and_overlap(probe: str) -> None:
    """A linear reader of the class shares gets most views right and not all, on patients that it has not seen."""
    shares, truth = class_shares(range(0, 75), probe)
    model = make_pipeline(StandardScaler(), LogisticRegression(C=10, max_iter=2000)).fit(shares, truth)
    unseen, expected = class_shares(range(5000, 5075), probe)
    predicted = model.predict(unseen)
    assert 0.65 < (predicted == expected).mean() < 0.93
    # Each diagnosis is recognised more often than by chance, and none always.
    for diagnosis in range(3):
        assert 0.4 < (predicted[expected == diagnosis] == diagnosis).mean() < 0.99


def test_patterns_of_the_diagnoses() -> None:
    """Normal lungs are altered least, pneumonia most; COVID-19 shows several separate patches, pneumonia seldom."""
    area, pieces = {}, {}
    for diagnosis in DIAGNOSES:
        frames = [lung_ultrasound(seed, seed % 2, diagnosis, "convex", (96, 128)) for seed in range(40)]
        altered = [np.isin(frame.label, (B, UNHEALTHY, UNHEALTHY_LINE)) for frame in frames]
        area[diagnosis] = float(np.mean(altered))
        pieces[diagnosis] = np.array([label(mask)[1] for mask in altered])
    assert area["normal"] < 0.06 < area["covid-19"] < area["pneumonia"]
    assert np.mean(pieces["normal"] == 0) > 0.3
    assert np.mean(pieces["covid-19"] >= 2) > 0.6 > 0.4 > np.mean(pieces["pneumonia"] >= 2)


def test_lung_slides_beneath_a_resting_chest_wall() -> None:
    compared = 0
    for seed in range(11, 19):
        clip = lung_ultrasound_clip(seed, 0, "covid-19", "linear", SMALL, seconds=1.5, rate=10)
        probe = PROBES["linear"]
        view = make_view(make_patient(seed), 0, probe)
        # The first tenth of the image is chest wall in every patient.
        walls = [frame.image[:23].astype(float).ravel() for frame in clip]
        assert np.corrcoef(walls[0], walls[1])[0, 1] > 0.95
        assert np.corrcoef(walls[0], walls[-1])[0, 1] > 0.6
        assert all((first.image != second.image).mean() > 0.2 for first, second in itertools.pairwise(clip))

        moves = [view.slide(k / 10) - view.slide(0) for k in range(len(clip))]
        k = int(np.argmax(np.abs(moves)))
        expected = moves[k] / probe.face * SMALL[1]
        altered = [np.isin(frame.label, (B, UNHEALTHY)).any(axis=0) for frame in (clip[0], clip[k])]
        # Where ribs hide the lung, or all or nothing of it is altered, the labels do not tell the movement.
        if len(view.ribs) or abs(expected) < 8 or not all(0.1 < mask.mean() < 0.9 for mask in altered):
            continue
        compared += 1
        shift = round(expected)
        seen = slice(max(shift, 0), SMALL[1] + min(shift, 0))
        assert (np.roll(altered[0], shift)[seen] == altered[1][seen]).mean() > 0.97
        assert (altered[0] == altered[1]).mean() < 0.95
    assert compared >= 2


def test_semantic_lung_layout(tmp_path: Path) -> None:
    root = write_semantic_lung(tmp_path / "lung", patients=4, images=5, size=(116, 156))
    names = [f"{patient}_{view:02}.png" for patient in "ABCD" for view in range(5)]
    for folder in ("images", "labels"):
        assert sorted(path.name for path in (root / folder).iterdir()) == names
    assert {path.name for path in root.iterdir()} == {"images", "labels"}
    seen: Counter[int] = Counter()
    for number, patient in enumerate("ABCD"):
        diagnosis = "normal" if patient == "D" else "covid-19"
        for view in range(5):
            expected = lung_ultrasound(number, view, diagnosis, "linear", (116, 156))
            image, truth = (Image.open(root / folder / f"{patient}_{view:02}.png") for folder in ("images", "labels"))
            assert image.mode == truth.mode == "L"
            np.testing.assert_array_equal(np.asarray(image), expected.image)
            np.testing.assert_array_equal(np.asarray(truth), expected.label)
            seen.update(np.unique(expected.label).tolist())
    assert set(seen) == set(range(1, 8))


def test_pocus_layout(tmp_path: Path) -> None:
    size = (116, 156)
    root = write_pocus(tmp_path / "pocus", patients=9, clips=2, seconds=0.4, rate=10, size=size, seed=7)
    with (root / "dataset_metadata.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert Counter(row["Type"] for row in rows) == {"video": 18, "image": 3}
    labels = {"Reg": "regular", "Pneu": "Bacterial pneumonia", "Vir": "Viral pneumonia", "Cov": "COVID-19"}
    per_patient: dict[str, list[tuple[str, str]]] = {}
    expected_files = {"dataset_metadata.csv"}
    for row in rows:
        prefix, word, patient, last = row["Filename"].split("_")
        assert row["Label"] == labels[prefix] and word == "phantom" and row["Patient ID / Name"] == f"phantom {patient}"
        kind, suffix = ("images", "png") if row["Type"] == "image" else ("videos", "mp4")
        assert (last == "still") == (kind == "images")
        assert row["Framerate"] == ("" if kind == "images" else "10")
        assert row["Current location"] == f"data/pocus_{kind}/{row['Probe']}" and row["Probe"] in ("Convex", "Linear")
        expected_files.add(f"pocus_{kind}/{row['Probe'].lower()}/{row['Filename']}.{suffix}")
        per_patient.setdefault(patient, []).append((row["Probe"], row["Type"]))
    assert {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()} == expected_files
    assert {row["Label"] for row in rows} == set(labels.values())
    # Number of clips, probes and stills say nothing of the diagnosis.
    for group in range(3):
        alike = [per_patient[f"{3 * group + k:02}"] for k in range(3)]
        assert alike[0] == alike[1] == alike[2]
    assert 0.5 < np.mean([row["Probe"] == "Convex" for row in rows if row["Type"] == "video"]) < 0.85


def test_mp4_keeps_the_frames(tmp_path: Path) -> None:
    arguments = {"patients": 3, "clips": 1, "seconds": 0.5, "rate": 10.0, "size": SMALL}
    root = write_pocus(tmp_path / "a", **arguments)  # type: ignore[arg-type]
    again = write_pocus(tmp_path / "b", **arguments)  # type: ignore[arg-type]
    paths = sorted(root.rglob("*.mp4"))
    assert len(paths) == 3
    for path in paths:
        assert path.read_bytes() == (again / path.relative_to(root)).read_bytes()
        _, _, patient, view = path.stem.split("_")
        seed = 1000 * SEED_BLOCK + COLLECTION_PATIENTS + int(patient)
        diagnosis = DIAGNOSES[int(patient) % 3]
        clip = lung_ultrasound_clip(seed, int(view), diagnosis, path.parent.name, SMALL, 0.5, 10.0)
        with av.open(str(path)) as container:
            assert container.streams.video[0].average_rate == 10
            pictures = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        assert len(pictures) == len(clip) == 5
        for picture, frame in zip(pictures, clip, strict=True):
            assert np.ptp(picture, axis=2).max() == 0
            difference = picture[..., 0].astype(int) - frame.image
            assert np.abs(difference).mean() < 3
            assert abs(difference.mean()) < 0.5


def test_mp4_keeps_bright_and_dark_pixels(tmp_path: Path) -> None:
    """The range of video neither clips nor compresses the grey scale."""
    from common.phantoms.ultrasound.clip_file import write_mp4

    ramp = np.repeat(np.arange(256, dtype=np.uint8)[None], 64, axis=0)
    write_mp4(tmp_path / "ramp.mp4", [ramp, ramp], 2.5)
    with av.open(str(tmp_path / "ramp.mp4")) as container:
        picture = next(container.decode(video=0)).to_ndarray(format="rgb24")
    assert np.abs(picture[32, :, 0].astype(int) - np.arange(256)).max() <= 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"seed": -1}, "seed must not be negative, got -1"),
        ({"view": -2}, "view must not be negative, got -2"),
        ({"diagnosis": "flu"}, "diagnosis must be one of .*'flu'"),
        ({"probe": "phased"}, "probe must be one of .*'phased'"),
        ({"size": (32, 312)}, "size must be at least 64"),
        ({"seconds": 0.0}, "seconds must be above 0"),
        ({"rate": float("nan")}, "rate must be above 0"),
    ],
)
def test_bad_arguments_are_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        lung_ultrasound_clip(**{"seed": 0, **arguments})  # type: ignore[arg-type]


def test_writers_refuse_bad_numbers_and_full_folders(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="patients must be at least 1"):
        write_semantic_lung(tmp_path / "a", patients=0)
    with pytest.raises(ValueError, match="patients must be at most 26"):
        write_semantic_lung(tmp_path / "a", patients=27)
    with pytest.raises(ValueError, match="images must be at most 100"):
        write_semantic_lung(tmp_path / "a", images=101)
    with pytest.raises(ValueError, match="clips must be at least 1"):
        write_pocus(tmp_path / "a", clips=0)
    with pytest.raises(ValueError, match="size must be even"):
        write_pocus(tmp_path / "a", size=(231, 312))
    with pytest.raises(ValueError, match="seconds must be above 0"):
        write_pocus(tmp_path / "a", patients=1, seconds=-1.0)
    with pytest.raises(ValueError, match="seed must not be negative"):
        write_pocus(tmp_path / "a", seed=-1)
    assert not list(tmp_path.iterdir())
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "note.txt").write_text("kept")
    with pytest.raises(FileExistsError, match="full"):
        write_semantic_lung(tmp_path / "full", patients=1, images=1, size=(64, 64))


def test_phantom_dir_knows_the_layouts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("COVID_LUNG_CACHE", str(tmp_path))
    with caplog.at_level("INFO"):
        lung = phantom_dir("semantic_lung", patients=1, images=2, size=(64, 80))
        pocus = phantom_dir("pocus", patients=1, clips=1, seconds=0.2, size=(64, 80))
    assert caplog.text.count("Using synthetic phantoms, not patient data") == 2
    assert len(list((lung / "images").iterdir())) == 2
    assert (pocus / "dataset_metadata.csv").is_file()


def test_the_figure_shows_both_probes(tmp_path: Path) -> None:
    picture = np.asarray(Image.open(draw_ultrasound_phantoms(tmp_path / "figure.png", seed=1)))
    top, bottom = np.split(picture, 2)
    assert (top[..., 0] == top[..., 2]).all()
    columns = np.split(bottom.astype(int), 6, axis=1)
    assert all(np.ptp(column, axis=2).max() > 60 for column in columns)
    # Only the three convex images have black corners.
    assert [int(column[0, 0].sum()) == 0 for column in np.split(top.astype(int), 6, axis=1)] == [False] * 3 + [True] * 3


def test_command_line_refuses_patients_of_the_ultrasound_figure(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "common.phantoms", "--kind", "ultrasound", "--patients", "2", "--output"]
    done = subprocess.run([*command, str(tmp_path / "x.png")], capture_output=True, text=True)
    assert done.returncode == 1 and "--patients is for --kind ct only" in done.stderr
    assert not list(tmp_path.iterdir())
