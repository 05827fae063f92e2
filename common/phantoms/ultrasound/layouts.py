"""Writers of ultrasound phantoms in the layouts of the Semantic Lung data set and the public POCUS collection."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from ...run.progress import progress
from ..folders import SEED_BLOCK, check_count, check_seed, finished_folder
from .clip_file import write_mp4
from .findings import DIAGNOSES
from .image import lung_ultrasound, lung_ultrasound_clip

# The POCUS layout uses the second half of a seed's block, so it shares no patient with the Semantic Lung layout.
COLLECTION_PATIENTS = 5_000

# Every fourth patient of the Semantic Lung layout has no COVID-19, as in the paper.
PATIENTS_PER_NORMAL = 4

COLUMNS = ("Current location", "Filename", "Label", "Type", "Probe", "Framerate", "Patient ID / Name")


def write_semantic_lung(
    root: str | Path,
    patients: int = 4,
    images: int = 38,
    size: tuple[int, int] = (464, 624),
    seed: int = 0,
) -> Path:
    """Write images in the layout of the Semantic Lung data set.

    The files are ``images/A_00.png`` (grey) and ``labels/A_00.png`` (indices 1..7), for patients A, B, C and so on. The
    probe is linear. Numbers and size are those of Gare et al. 2021, section 2.2: three patients with COVID-19, then one
    without. Even views show the left lung, odd views the right lung.

    Args:
        root: folder to create.
        patients: number of patients, 1 to 26.
        images: images per patient, 1 to 100.
        size: rows and columns.
        seed: seed of the patients; different seeds share no patient.

    Returns:
        The folder.

    Raises:
        ValueError: if a number is out of range.
        FileExistsError: if ``root`` exists and is not empty.
    """

    def of(number: int, view: int) -> tuple[str, str, str]:
        diagnosis = "normal" if number % PATIENTS_PER_NORMAL == PATIENTS_PER_NORMAL - 1 else "covid-19"
        return chr(ord("A") + number), diagnosis, "linear"

    return _write_labelled(root, of, {"patients": (patients, 26), "images": (images, 100)}, size, seed)


def write_varied(
    root: str | Path,
    patients: int = 96,
    images: int = 6,
    size: tuple[int, int] = (232, 312),
    seed: int = 7000,
) -> Path:
    """Write images of many patients in the layout of the Semantic Lung data set: both probes, all three diagnoses.

    Two of three images are of the convex probe, and diagnoses take turns, so that neither tells the other.

    Args:
        root: folder to create.
        patients: number of patients, 1 to 1,000.
        images: images per patient, 1 to 100.
        size: rows and columns.
        seed: seed of the patients; different seeds share no patient.

    Returns:
        The folder.

    Raises:
        ValueError: if a number is out of range.
        FileExistsError: if ``root`` exists and is not empty.
    """

    def of(number: int, view: int) -> tuple[str, str, str]:
        probe = "linear" if (number // len(DIAGNOSES) + view) % 3 == 2 else "convex"
        return f"{number:03}", DIAGNOSES[number % len(DIAGNOSES)], probe

    return _write_labelled(root, of, {"patients": (patients, 1000), "images": (images, 100)}, size, seed)


def _write_labelled(
    root: str | Path,
    of: Callable[[int, int], tuple[str, str, str]],
    counts: Mapping[str, tuple[int, int]],
    size: tuple[int, int],
    seed: int,
) -> Path:
    """Write images and labels of patients.

    Args:
        root: folder to create.
        of: gives the name of a patient, the diagnosis and the probe, for the numbers of patient and view.
        counts: ``patients`` and ``images`` of each, with how many there can be.
        size: rows and columns.
        seed: seed of the patients.
    """
    for name, (value, most) in counts.items():
        check_count(name, value)
        if value > most:
            raise ValueError(
                f"{name} must be at most {most}, the number of file names, got {value}. Use several seeds instead."
            )
    check_seed(seed)
    root = Path(root)
    with finished_folder(root) as folder:
        for name in ("images", "labels"):
            (folder / name).mkdir()
        for number in progress(range(counts["patients"][0]), desc="Generating ultrasound phantoms"):
            for view in range(counts["images"][0]):
                patient, diagnosis, probe = of(number, view)
                frame = lung_ultrasound(seed * SEED_BLOCK + number, view, diagnosis, probe, size)
                Image.fromarray(frame.image).save(folder / "images" / f"{patient}_{view:02}.png")
                Image.fromarray(frame.label).save(folder / "labels" / f"{patient}_{view:02}.png")
    return root


@dataclass(frozen=True)
class Recording:
    """One clip or still of the POCUS layout.

    Attributes:
        seed: seed of the patient.
        patient: number of the patient in the collection.
        view: number of the view.
        diagnosis: ``normal``, ``pneumonia`` or ``covid-19``.
        probe: ``linear`` or ``convex``.
        prefix: start of the file name.
        label: label in the metadata.
        still: True for a still image, False for a clip.
    """

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
    """Write clips, stills and ``dataset_metadata.csv`` in the layout of the POCUS collection (Born et al. 2021).

    Clips have names such as ``pocus_videos/convex/Cov_phantom_00_0.mp4``, stills such as
    ``pocus_images/linear/Cov_phantom_00_still.png``. The prefixes are Reg (normal), Pneu and Vir (pneumonia) and Cov
    (COVID-19). Three successive patients have the three diagnoses, and the same number of clips, probes and stills, so
    that these do not reveal the diagnosis.

    Args:
        root: folder to create.
        patients: number of patients.
        clips: mean number of clips per patient. Each patient has one less to one more, but at least one.
        seconds: length of a clip.
        rate: frames per second.
        size: rows and columns, both even.
        seed: seed of the patients; different seeds share no patient.

    Returns:
        The folder.

    Raises:
        ValueError: if a number is out of range.
        FileExistsError: if ``root`` exists and is not empty.
    """
    check_count("patients", patients)
    check_count("clips", clips)
    check_seed(seed)
    if size[0] % 2 or size[1] % 2:
        raise ValueError(f"size must be even along both axes for mp4, got {size}. Add a row or column.")
    root = Path(root)
    recordings = [recording for patient in range(patients) for recording in recordings_of(patient, clips, seed)]
    with finished_folder(root) as folder:
        for kind in ("pocus_videos", "pocus_images"):
            for probe in ("convex", "linear"):
                (folder / kind / probe).mkdir(parents=True)
        for recording in progress(recordings, desc="Generating ultrasound phantoms"):
            if recording.still:
                frame = lung_ultrasound(recording.seed, recording.view, recording.diagnosis, recording.probe, size)
                Image.fromarray(frame.image).save(folder / "pocus_images" / recording.probe / f"{recording.name}.png")
            else:
                frames = lung_ultrasound_clip(
                    recording.seed, recording.view, recording.diagnosis, recording.probe, size, seconds, rate
                )
                path = folder / "pocus_videos" / recording.probe / f"{recording.name}.mp4"
                write_mp4(path, [frame.image for frame in frames], rate)
        write_metadata(folder / "dataset_metadata.csv", recordings, rate)
    return root


def recordings_of(patient: int, clips: int, seed: int) -> Iterator[Recording]:
    """Yield the clips of one patient, and a still for some patients."""
    diagnosis = DIAGNOSES[patient % len(DIAGNOSES)]
    group = patient // len(DIAGNOSES)
    prefix, label = {
        "normal": ("Reg", "regular"),
        "pneumonia": ("Vir", "Viral pneumonia") if group % 3 == 1 else ("Pneu", "Bacterial pneumonia"),
        "covid-19": ("Cov", "COVID-19"),
    }[diagnosis]
    patient_seed = seed * SEED_BLOCK + COLLECTION_PATIENTS + patient
    # As many as given, one more, one less, in turn over the groups.
    count = max(clips + (0, 1, -1)[group % 3], 1)
    for view in range(count):
        probe = "linear" if (group + view) % 3 == 2 else "convex"
        yield Recording(patient_seed, patient, view, diagnosis, probe, prefix, label, still=False)
    if group % 3 == 0:
        probe = "linear" if group % 2 else "convex"
        yield Recording(patient_seed, patient, count, diagnosis, probe, prefix, label, still=True)


def write_metadata(path: Path, recordings: list[Recording], rate: float) -> None:
    """Write the table of all recordings, with those columns of the public table that describe a file's content."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for recording in recordings:
            folder, kind, frames = ("images", "image", "") if recording.still else ("videos", "video", f"{rate:g}")
            location = f"data/pocus_{folder}/{recording.probe.capitalize()}"
            patient = f"phantom {recording.patient:02}"
            writer.writerow(
                [location, recording.name, recording.label, kind, recording.probe.capitalize(), frames, patient]
            )


LAYOUTS: dict[str, Callable[..., Path]] = {
    "semantic_lung": write_semantic_lung,
    "varied": write_varied,
    "pocus": write_pocus,
}
