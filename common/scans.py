"""Read CT scans and pictures of any usual format, and find them in a folder.

Every format arrives as one shape: (1, X, Y, Z) in the file's own axis order, with an affine (RAS, mm) that tells how
it is turned, so that one chain of transforms serves them all and a mask can go back to the file's grid.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import torch
from monai.data import ITKReader, MetaTensor

from .dicom import check_pydicom
from .files import matches, reason, unique

logger = logging.getLogger(__name__)

NIFTI = (".nii", ".nii.gz")
ITK = (".mha", ".mhd", ".nrrd")
PICTURES = (".png", ".jpg", ".jpeg", ".bmp")
DICOM = (".dcm", ".dicom", ".ima")
UPRIGHT = "PL"  # rows run to posterior, columns to the patient's left: an axial slice as radiologists look at it
UNSEEN_PHANTOM = 2021  # seed; training's phantoms start at seed 0
UNSEEN_STUDIES = {"patients": 12, "size": (128, 128), "slices": 24, "seed": 2140}  # CT-0 to CT-3
PARTNERS = {"lung": "lung mask", "label": "truth"}
DIRECTIONS = {"R": (1, 0, 0), "L": (-1, 0, 0), "A": (0, 1, 0), "P": (0, -1, 0)}  # in RAS+


def kind_of(path: str | Path) -> str:
    """``nifti``, ``itk``, ``picture``, ``array``, ``dicom`` or nothing, by name or, without suffix, by content."""
    name = str(path).lower()
    for kind, endings in (
        ("nifti", NIFTI),
        ("itk", ITK),
        ("picture", PICTURES),
        ("array", (".npy",)),
        ("dicom", DICOM),
    ):
        if name.endswith(endings):
            return kind
    if Path(path).is_file() and not Path(path).suffix:
        with open(path, "rb") as file:
            return "dicom" if file.read(132)[128:] == b"DICM" else ""  # the DICOM file preamble
    return ""


def picture_affine(axes: str) -> np.ndarray:
    """RAS affine (4, 4) of a picture array [row, column, 0] whose rows and columns run as ``axes`` says.

    Args:
        axes: two letters out of R, L, A, P: where rows and columns run to. ``PL`` is upright. Pixels count as 1 mm.

    Raises:
        ValueError: for letters that do not span an axial plane.
    """
    if len(axes) != 2 or not set(axes) <= set(DIRECTIONS) or (axes[0] in "RL") == (axes[1] in "RL"):
        raise ValueError(f"Picture axes are one letter of R, L and one of A, P, got {axes!r}. Upright is 'PL'.")
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1] = DIRECTIONS[axes[0]], DIRECTIONS[axes[1]]
    return affine


def _read_nifti(path: Path) -> MetaTensor:
    image: Any = nibabel.load(path)
    # Kept in the file's order, in which a slice lies in one piece; MONAI's reader turns the whole volume over
    return MetaTensor(torch.from_numpy(np.asarray(image.dataobj, np.float32)), affine=torch.from_numpy(image.affine))


def _read_itk(path: Path) -> MetaTensor:
    reader = ITKReader()  # imports itk, which takes a second, only here
    values, meta = reader.get_data(reader.read(path))
    return MetaTensor(
        torch.from_numpy(np.ascontiguousarray(values, np.float32)), affine=torch.as_tensor(meta["affine"])
    )


def _read_picture(path: Path, axes: str) -> MetaTensor:
    from PIL import Image

    with Image.open(path) as picture:
        if picture.mode not in ("L", "P", "1", "RGB", "RGBA"):
            raise ValueError(
                f"a picture must be 8-bit grey, got mode {picture.mode}; convert it, or give DICOM or NIfTI"
            )
        pixels = np.asarray(picture)  # palette pictures stay indices, which is what label pictures hold
    if pixels.ndim == 3:
        if not (pixels[..., :3] == pixels[..., :1]).all():
            raise ValueError("a CT picture must be grey, got colours; export it without overlays")
        pixels = pixels[..., 0]
    return MetaTensor(
        torch.from_numpy(pixels.astype(np.float32))[..., None], affine=torch.from_numpy(picture_affine(axes))
    )


def _read_dicom(paths: Sequence[Path]) -> MetaTensor:
    check_pydicom()
    import highdicom  # takes a second to import, so only where there is DICOM
    import pydicom

    datasets = [pydicom.dcmread(path) for path in paths]
    # highdicom sorts by position, applies the rescale slope, and refuses gaps and slices of differing geometry
    volume = highdicom.get_volume_from_series(datasets, dtype=np.float32)
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ volume.affine  # DICOM is LPS
    affine = affine[:, [2, 1, 0, 3]]  # (slice, row, column) to (column, row, slice)
    thickness = datasets[0].get("SliceThickness") if len(datasets) == 1 else None
    if thickness:  # a slice alone has no distance to the next
        affine[:3, 2] *= float(thickness) / np.linalg.norm(affine[:3, 2])
    meta = {"spacing_known": len(datasets) > 1 or bool(thickness)}
    return MetaTensor(torch.from_numpy(volume.array).permute(2, 1, 0), affine=torch.from_numpy(affine), meta=meta)


def _read_array(path: Path) -> MetaTensor:
    stack = np.load(path, mmap_mode="r", allow_pickle=False)
    if stack.ndim != 4:
        raise ValueError(f"a stack of slices has shape (slices, rows, columns, channels), got {stack.shape}")
    stack = stack[..., 0] if stack.shape[-1] == 1 else stack.argmax(-1)
    affine = picture_affine(UPRIGHT)  # how the public arrays lie
    return MetaTensor(torch.from_numpy(np.moveaxis(stack, 0, -1).astype(np.float32)), affine=torch.from_numpy(affine))


def read(path: str | Path | Sequence[str | Path], picture_axes: str = UPRIGHT) -> MetaTensor:
    """Read a volume, a DICOM series, a single DICOM slice, a stack of arrays, or a picture.

    Args:
        path: a file, or the files of one DICOM series in any order.
        picture_axes: where rows and columns of a picture run to; see :func:`picture_affine`.

    Returns:
        float32 (1, X, Y, Z) in the file's own axis order, with its RAS affine in mm. ``meta["spacing_known"]`` is False
        for pictures and arrays, whose pixel size no file tells, and for a DICOM slice alone that states no thickness.
        One-hot arrays come as channel indices.

    Raises:
        FileNotFoundError: when there is no such file.
        ValueError: when it cannot be read, or is not one scan; the message names the file.
    """
    paths = [Path(path)] if isinstance(path, (str, Path)) else [Path(one) for one in path]
    name = paths[0] if len(paths) == 1 else paths[0].parent
    missing = [str(one) for one in paths if not one.exists()]
    if missing:
        raise FileNotFoundError(f"No such file: {', '.join(missing)}.")
    kind = kind_of(paths[0])
    try:
        if kind == "nifti":
            scan = _read_nifti(paths[0])
        elif kind == "itk":
            scan = _read_itk(paths[0])
        elif kind == "dicom":
            scan = _read_dicom(paths)
        elif kind == "picture":
            scan = _read_picture(paths[0], picture_axes)
        elif kind == "array":
            scan = _read_array(paths[0])
        else:
            raise ValueError(f"unknown format; use {', '.join(NIFTI + ITK + DICOM + PICTURES)}")
    except Exception as error:  # readers raise dozens of types; the user needs the file and the reason
        raise ValueError(f"{name}: cannot be read: {reason(error)}") from error
    shape = file_shape = tuple(scan.shape)
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) == 2:
        shape = (*shape, 1)
    if len(shape) != 3:
        raise ValueError(f"{name}: a scan has three axes, got shape {shape}. Split it into volumes.")
    meta = {
        "filename_or_obj": str(name),
        "spacing_known": scan.meta.get("spacing_known", kind not in ("picture", "array")),
        "kind": kind,
        "file_shape": file_shape,
    }
    return MetaTensor(
        scan.as_tensor().reshape(1, *shape), affine=scan.affine, meta={**meta, "original_affine": scan.affine.clone()}
    )


def _dicom_cases(files: list[Path], folder: str, name: str) -> list[dict[str, Any]]:
    """Cases out of the DICOM files of one folder: one series, or single slices of different series.

    A series is called ``name``, a single slice by its file's name after ``folder``.
    """
    import pydicom

    tags = ["SeriesInstanceUID", "SeriesDescription", "Modality"]
    series: dict[str, list[Path]] = {}
    described: dict[str, str] = {}
    cases: list[dict[str, Any]] = []
    for file in files:
        try:
            header = pydicom.dcmread(file, stop_before_pixels=True, specific_tags=tags)
            uid = str(header.SeriesInstanceUID)
        except Exception as error:
            cases.append(
                {"case": folder + file.stem, "image": file, "error": f"{file}: cannot be read: {reason(error)}"}
            )
            continue
        if header.get("Modality", "CT") != "CT":
            logger.info("%s: left out, modality %s is not CT.", file, header.Modality)
            continue
        series.setdefault(uid, []).append(file)
        described[uid] = str(header.get("SeriesDescription", "no description"))
    if len(series) == 1:
        found = next(iter(series.values()))
        cases.append({"case": name if len(found) > 1 else folder + found[0].stem, "image": found})
    elif all(len(found) == 1 for found in series.values()):
        cases += [{"case": folder + found[0].stem, "image": found} for found in series.values()]
    else:
        listing = "; ".join(f"{len(found)} slices '{described[uid]}' ({uid})" for uid, found in series.items())
        message = (
            f"{name}: a DICOM folder must hold one series, got {len(series)}: {listing}. Give each its own folder."
        )
        cases.append({"case": name, "image": files, "error": message})
    return cases


def add_partners(cases: list[dict[str, Any]], partners: Mapping[str, str]) -> None:
    """Give cases the paths of their masks.

    Args:
        cases: with ``case``; changed in place.
        partners: key to a folder whose files are called as the cases, ``<case>.nii.gz``, ``<case>_mask.nii.gz`` or
            ``<case>_<key>.nii.gz`` or of another format, in folders as the cases or, where no two are called alike,
            without; or to a path with ``{case}``, or for a single case to a file; nothing for a key without. Synthetic
            patients bring their truth by themselves.

    Raises:
        FileNotFoundError: where no case has such a partner.
        ValueError: for one file and several cases.
    """
    for key, place in partners.items():
        if not place:
            continue
        if Path(place).is_file() and len(cases) > 1:
            raise ValueError(
                f"{place}: one {PARTNERS[key]} cannot serve {len(cases)} cases. Give a folder, or a path with {{case}}."
            )
        one = "{case}" in place or Path(place).is_file()
        names = ("{case}", "{case}_mask", f"{{case}}_{key}")
        patterns = [place] if one else [f"{place}/{name}{end}" for name in names for end in NIFTI + ITK + PICTURES]
        found = 0
        alike = Counter(Path(case["case"]).name for case in cases)
        for case in cases:
            last = Path(case["case"]).name  # MosMedData's masks lie in one folder, its studies in five
            called = [case["case"], *([last] if not one and alike[last] == 1 else [])]
            paths = [Path(pattern.replace("{case}", name)) for name in called for pattern in patterns]
            path = next((path for path in paths if path.is_file()), None)
            if path is not None:
                case[key] = path
                found += 1
        if not found:
            raise FileNotFoundError(
                f"No {PARTNERS[key]} for any of {len(cases)} cases by {place}; for {cases[0]['case']} there should be "
                f"{patterns[0].replace('{case}', cases[0]['case'])}. Give a folder of files called as the scans, or a "
                "path with {case}."
            )
        logger.info("A %s of their own: %d of %d cases.", PARTNERS[key], found, len(cases))


def datalist(
    root: str | Path,
    include: str | Sequence[str] = "*",
    exclude: str | Sequence[str] = "",
    intensity: str = "HU",
    picture_axes: str = UPRIGHT,
    partners: Mapping[str, str] | None = None,
) -> list[dict[str, Any]]:
    """Find the scans in a folder, at any depth: NIfTI, MetaImage, NRRD, DICOM series or single slices, pictures.

    Args:
        root: a folder or one file; ``phantom`` makes one synthetic patient that no training has seen,
            ``phantom_studies`` twelve, in folders by severity as MosMedData's.
        include: pattern that a case must match (``*`` and ``?``), against its path below ``root``; several parted
            by commas.
        exclude: patterns of cases to leave out, for example ``*mask*,*segmentation*``.
        intensity: what volumes hold: ``HU``, or ``8bit`` for windowed 0..255 grey levels. Pictures are always ``8bit``.
        picture_axes: how pictures lie; see :func:`picture_affine`.
        partners: further keys, ``lung`` or ``label``, to where their files are; see :func:`add_partners`.

    Returns:
        Dicts with ``case`` (unique path below ``root`` without suffix), ``image`` (list of files), ``intensity``,
        ``picture_axes``, and the keys of ``partners`` where a case has them; an entry that could not be understood
        carries ``error``, its message.

    Raises:
        FileNotFoundError: when there is no such folder, or nothing in it can be read.
    """
    if str(root) == "phantom":
        from .phantoms import phantom_dir

        phantoms = phantom_dir("radiopaedia", patients=1, seed=UNSEEN_PHANTOM)
        root = phantoms / "rp_im"
        if partners and not partners.get("label", "given"):
            partners = {**partners, "label": str(phantoms / "rp_msk")}
    elif str(root) == "phantom_studies":
        from .phantoms import phantom_dir

        phantoms = phantom_dir("mosmed", **UNSEEN_STUDIES)
        root = phantoms / "studies"
        if partners and not partners.get("label", "given"):
            partners = {**partners, "label": str(phantoms / "masks")}
    root = Path(root)
    if not root.exists():
        raise FileNotFoundError(f"No such folder: {root}. Give the folder of scans with --dataset_dir.")
    files = [root] if root.is_file() else sorted(path for path in root.rglob("*") if path.is_file())
    top = root.parent if root.is_file() else root
    cases: list[dict[str, Any]] = []
    folders: dict[Path, list[Path]] = {}
    for file in files:
        kind = kind_of(file)
        if kind == "dicom":
            folders.setdefault(file.parent, []).append(file)
        elif kind in ("nifti", "itk", "picture"):
            stem = file.name[: -len(".nii.gz")] if file.name.lower().endswith(".nii.gz") else file.stem
            cases.append({"case": (file.relative_to(top).parent / stem).as_posix(), "image": [file], "kind": kind})
    for folder, members in folders.items():
        relative = folder.relative_to(top).as_posix()
        prefix, name = ("", folder.resolve().name) if relative == "." else (f"{relative}/", relative)
        cases += [{**case, "kind": "dicom"} for case in _dicom_cases(members, prefix, name)]
    wanted = [case for case in cases if matches(case["case"], include) and not matches(case["case"], exclude)]
    if not wanted:
        raise FileNotFoundError(
            f"No scan in {root}: {len(files)} files, {len(cases)} of them scans, none left by include={include!r} and "
            f"exclude={exclude!r}. Formats: {', '.join(NIFTI + ITK + DICOM + PICTURES)}."
        )
    unique(wanted)
    add_partners(wanted, partners or {})
    declared = {"intensity": intensity, "picture_axes": picture_axes}
    return [
        {**declared, **case, **({"intensity": "8bit"} if case["kind"] == "picture" else {})}
        for case in sorted(wanted, key=lambda case: case["case"])
    ]
