"""Ultrasound phantoms written in the layouts of the Semantic Lung data set and of the public POCUS collection."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from tqdm import tqdm

from ..folders import SEED_BLOCK, check_count, check_seed, finished_folder
from .clip_file import write_mp4
from .findings import DIAGNOSES
from .image import lung_ultrasound, lung_ultrasound_clip

# The collection's patients start in the middle of a seed's block: none of them occurs in the Semantic Lung layout.
COLLECTION_PATIENTS = 5_000

# Every fourth patient of the Semantic Lung layout is free of COVID-19, as in the paper.
PATIENTS_PER_NORMAL = 4

COLUMNS = ("Current location", "Filename", "Label", "Type", "Probe", "Framerate", "Patient ID / Name")


def write_semantic_lung(
    root: str | Path,
    patients: int = 4,
    images: int = 38,
    size: tuple[int, int] = (464, 624),
    seed: int = 0,
) -> Path:
    """Writes `images/A_00.png` (grey) and `labels/A_00.png` (indices 1..7), patients A, B, C, ..., linear probe.

    Patients, images and size are those of Gare et al. 2021, section 2.2: three patients with COVID-19, then one
    without. Even views show the left lung, odd views the right one.

    Args:
        root: folder to make.
        patients: number of patients, 1 to 26.
        images: images per patient, 1 to 100.
        size: rows and columns.
        seed: names the group of patients.

    Returns:
        The folder.

    Raises:
        ValueError: if a number is out of range.
        FileExistsError: if `root` exists and is not empty.
    """
    for name, value, most in (("patients", patients, 26), ("images", images, 100)):
        check_count(name, value)
        if value > most:
            raise ValueError(f"{name} must be at most {most}, as names allow, but is {value}. Use several seeds.")
    check_seed(seed)
    root = Path(root)
    with finished_folder(root) as part:
        for folder in ("images", "labels"):
            (part / folder).mkdir()
        for number in tqdm(range(patients), desc="Making ultrasound phantoms", leave=False):
            diagnosis = "normal" if number % PATIENTS_PER_NORMAL == PATIENTS_PER_NORMAL - 1 else "covid-19"
            for view in range(images):
                frame = lung_ultrasound(seed * SEED_BLOCK + number, view, diagnosis, "linear", size)
                name = f"{chr(ord('A') + number)}_{view:02}.png"
                Image.fromarray(frame.image).save(part / "images" / name)
                Image.fromarray(frame.label).save(part / "labels" / name)
    return root


@dataclass(frozen=True)
class Recording:
    """One clip or still of the collection."""

    seed: int
    patient: int
    view: int
    diagnosis: str
    probe: str
    prefix: str
    label: str
    still: bool

    @property
    def name(self) -> str:
        """File name without suffix."""
        return f"{self.prefix}_phantom_{self.patient:02}_{'still' if self.still else self.view}"


def write_pocus(
    root: str | Path,
    patients: int = 18,
    clips: int = 3,
    seconds: float = 2.0,
    rate: float = 10.0,
    size: tuple[int, int] = (232, 312),
    seed: int = 1000,
) -> Path:
    """Writes clips, stills and `dataset_metadata.csv` as in the public POCUS collection (Born et al. 2021).

    Clips are `pocus_videos/convex/Cov_phantom_00_0.mp4` and alike, stills `pocus_images/linear/...still.png`; the
    prefixes are Reg (normal), Pneu and Vir (pneumonia) and Cov (COVID-19). Patients take turns at the three diagnoses;
    number of clips, probe and stills are the same for each three patients in turn, so that they tell nothing of the
    diagnosis.

    Args:
        root: folder to make.
        patients: number of patients.
        clips: mean number of clips per patient; each has one less to one more, but at least one.
        seconds: length of a clip.
        rate: frames per second.
        size: rows and columns, both even.
        seed: names the group of patients.

    Returns:
        The folder.

    Raises:
        ValueError: if a number is out of range.
        FileExistsError: if `root` exists and is not empty.
    """
    check_count("patients", patients)
    check_count("clips", clips)
    check_seed(seed)
    if size[0] % 2 or size[1] % 2:
        raise ValueError(f"size must be even along both axes for mp4, but is {size}. Add a row or column.")
    root = Path(root)
    recordings = [one for patient in range(patients) for one in recordings_of(patient, clips, seed)]
    with finished_folder(root) as part:
        for folder in ("pocus_videos", "pocus_images"):
            for probe in ("convex", "linear"):
                (part / folder / probe).mkdir(parents=True)
        for one in tqdm(recordings, desc="Making ultrasound phantoms", leave=False):
            if one.still:
                frame = lung_ultrasound(one.seed, one.view, one.diagnosis, one.probe, size)
                Image.fromarray(frame.image).save(part / "pocus_images" / one.probe / f"{one.name}.png")
            else:
                frames = lung_ultrasound_clip(one.seed, one.view, one.diagnosis, one.probe, size, seconds, rate)
                path = part / "pocus_videos" / one.probe / f"{one.name}.mp4"
                write_mp4(path, [frame.image for frame in frames], rate)
        write_metadata(part / "dataset_metadata.csv", recordings, rate)
    return root


def recordings_of(patient: int, clips: int, seed: int) -> Iterator[Recording]:
    """Yields the clips and perhaps a still of one patient."""
    diagnosis = DIAGNOSES[patient % len(DIAGNOSES)]
    group = patient // len(DIAGNOSES)
    prefix, label = {
        "normal": ("Reg", "regular"),
        "pneumonia": ("Vir", "Viral pneumonia") if group % 3 == 1 else ("Pneu", "Bacterial pneumonia"),
        "covid-19": ("Cov", "COVID-19"),
    }[diagnosis]
    patient_seed = seed * SEED_BLOCK + COLLECTION_PATIENTS + patient
    # One less, as many, one more: in turn over the groups, beginning with as many.
    count = max(clips + (0, 1, -1)[group % 3], 1)
    for view in range(count):
        probe = "linear" if (group + view) % 3 == 2 else "convex"
        yield Recording(patient_seed, patient, view, diagnosis, probe, prefix, label, still=False)
    if group % 3 == 0:
        probe = "linear" if group % 2 else "convex"
        yield Recording(patient_seed, patient, count, diagnosis, probe, prefix, label, still=True)


def write_metadata(path: Path, recordings: list[Recording], rate: float) -> None:
    """Writes the table of all recordings, with the columns of the public one that tell what a file shows."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for one in recordings:
            folder, kind, frames = ("images", "image", "") if one.still else ("videos", "video", f"{rate:g}")
            location = f"data/pocus_{folder}/{one.probe.capitalize()}"
            patient = f"phantom {one.patient:02}"
            writer.writerow([location, one.name, one.label, kind, one.probe.capitalize(), frames, patient])


LAYOUTS: dict[str, Callable[..., Path]] = {"semantic_lung": write_semantic_lung, "pocus": write_pocus}
