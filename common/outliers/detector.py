"""How far features lie from those of the data that a network has learned from."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from ..run.model_record import damaged_entry
from ..statistics import parts_of
from .changes import CHANGES, CONTENT, TEXTURE, changed

COMPONENTS = 24  # directions of the features' variation that are kept, at most a quarter of the slices
LEAST_SPREAD = 0.05  # of a feature, in shares of the usual one: some channels hardly ever change,
LEAST_SHARE = 1e-3  # and in shares of the largest one, where most of them do not
LEAST = 1e-6  # below which numbers are rounding errors
SIDES, STRENGTH = 64, 0.1  # components, and inverse of the penalty on weights, of what tells a change
RELIABLE = 0.8  # share of held-out slices and changed ones that must be told, or a change is not judged
PASSED = 0.95  # share of held-out cases of each source that count as usual
PARTS_OF_DATA = 5  # held out in turn, by patient

Features = Mapping[str, np.ndarray]  # by part, (slices, features)


@dataclass(frozen=True)
class Gaussian:
    """A Gaussian for each source of the training data, with one covariance for all (Lee et al., 2018, section 2.1).

    The covariance is that of the strongest components; what they leave is one number (probabilistic principal
    components), so that fifty slices are enough.

    Args:
        centres: of the sources, (sources, features).
        spreads: of each feature, (features,).
        components: orthonormal, (components, features).
        deviations: along the components, (components,).
        rest: mean square of what the components leave.
    """

    centres: np.ndarray
    spreads: np.ndarray
    components: np.ndarray
    deviations: np.ndarray
    rest: float

    @classmethod
    def fit(cls, features: np.ndarray, sources: Sequence[str] | np.ndarray) -> Gaussian:
        """Fit it to features (slices, features) of known sources."""
        names, place = np.unique(np.asarray(sources), return_inverse=True)
        centres = np.stack([features[place == index].mean(0) for index in range(len(names))])
        centred = features - centres[place]
        spreads = _spreads(centred)
        count = max(1, min(COMPONENTS, len(features) // 4, features.shape[1]))
        _, values, vectors = np.linalg.svd(centred / spreads, full_matrices=False)
        deviations = np.maximum(values[:count] / np.sqrt(len(features)), LEAST)
        rest = float((values[count:] ** 2).sum() / len(features))
        return cls(centres, spreads, vectors[:count], deviations, rest)

    def distances(self, features: np.ndarray) -> np.ndarray:
        """Squared Mahalanobis distance to the nearest source, within the components and beyond them, (slices, 2)."""
        best = np.full((len(features), 2), np.inf)
        for centre in self.centres:
            scaled = (features - centre) / self.spreads
            along = scaled @ self.components.T
            left = ((scaled - along @ self.components) ** 2).sum(1)
            beyond = left / self.rest if self.rest > LEAST else np.zeros(len(left))
            here = np.stack([((along / self.deviations) ** 2).mean(1), beyond], 1)
            nearer = here.sum(1) < best.sum(1)
            best[nearer] = here[nearer]
        return best


@dataclass(frozen=True)
class Direction:
    """Tells an image from one with a known change, by a linear function of features.

    Args:
        weights: (features,).
        bias: added to the weighted sum; the result is the logit that the image was changed.
        limit: of the mean over the slices of a case.
        scale: half of the distance between usual and changed slices.
    """

    weights: np.ndarray
    bias: float
    limit: float = 0.0
    scale: float = 1.0

    @classmethod
    def fit(cls, plain: np.ndarray, after: np.ndarray) -> Direction:
        """Fit it by logistic regression on the strongest components.

        Args:
            plain: features of images, (slices, features).
            after: of the same images with the change, (slices, features).
        """
        both = np.concatenate([plain, after])
        spreads = _spreads(both - both.mean(0))
        model = make_pipeline(
            PCA(min(SIDES, len(both) // 4, both.shape[1]), svd_solver="full"),
            LogisticRegression(C=STRENGTH, max_iter=1000),
        ).fit(both / spreads, np.repeat([0, 1], [len(plain), len(after)]))
        bias = float(model.decision_function(np.zeros((1, both.shape[1])))[0])
        found = cls((model.decision_function(np.eye(both.shape[1])) - bias) / spreads, bias)
        return replace(found, scale=float(found.logits(after).mean() - found.logits(plain).mean()) / 2)

    def logits(self, features: np.ndarray) -> np.ndarray:
        """Logit of each slice that it was changed."""
        return np.asarray(features @ self.weights + self.bias)

    def score(self, logit: float) -> float:
        """Above 1 for a logit above the limit."""
        return 1 + (logit - self.limit) / self.scale


@dataclass(frozen=True)
class Detector:
    """Scores of a case: above 1 is unusual.

    Args:
        gaussians: by part, ``texture`` and ``content``.
        limits: of the two distances of each, that held-out cases keep to.
        directions: by name, for those of ``common.outliers.changes`` that can be told from images as they are.
        data: what it was fitted to, for the record.
    """

    gaussians: Mapping[str, Gaussian]
    limits: Mapping[str, np.ndarray]
    directions: Mapping[str, Direction]
    data: Mapping[str, Any] = field(default_factory=dict)

    def scores(self, features: Features) -> dict[str, float]:
        """Scores of one case by part: the median over its slices.

        Args:
            features: of its slices, by part.

        Returns:
            ``texture``, ``content``: distance as a share of the limit. Changes: above 1 if the image seems to be so
            changed.
        """
        found = {
            part: float((np.median(gaussian.distances(features[part]), 0) / self.limits[part]).max())
            for part, gaussian in self.gaussians.items()
        }
        for name, side in self.directions.items():
            found[name] = side.score(float(side.logits(features[CHANGES[name].part]).mean()))
        return found

    def to_record(self) -> dict[str, Any]:
        """What ``model.json`` holds of it."""
        arrays = {
            part: {
                "centres": _packed(each.centres),
                "spreads": _packed(each.spreads),
                "components": _packed(each.components),
                "deviations": _packed(each.deviations),
                "rest": round(each.rest, 6),
                "limits": [round(float(limit), 6) for limit in self.limits[part]],
            }
            for part, each in self.gaussians.items()
        }
        directions = {
            name: {"weights": _packed(each.weights), "bias": each.bias, "limit": each.limit, "scale": each.scale}
            for name, each in self.directions.items()
        }
        return {"data": dict(self.data), "gaussians": arrays, "directions": directions}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Detector:
        """The detector that a record holds.

        Raises:
            ValueError: if it is damaged.
        """
        try:
            gaussians = {
                part: Gaussian(
                    centres=_unpacked(each["centres"]),
                    spreads=_unpacked(each["spreads"]),
                    components=_unpacked(each["components"]),
                    deviations=_unpacked(each["deviations"]),
                    rest=float(each["rest"]),
                )
                for part, each in record["gaussians"].items()
            }
            limits = {part: np.array(each["limits"], float) for part, each in record["gaussians"].items()}
            directions = {
                name: Direction(_unpacked(each["weights"]), *(float(each[key]) for key in ("bias", "limit", "scale")))
                for name, each in record["directions"].items()
                if name in CHANGES
            }
            return cls(gaussians, limits, directions, record.get("data", {}))
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise damaged_entry("usual data", error, "fit") from error


def fit(features: Features, sources: Sequence[str], patients: Sequence[str], cases: Sequence[str]) -> Detector:
    """Fit a detector; ``PASSED`` of the cases of each source keep to its limits when their patients are held out.

    Args:
        features: of slices, by part; those of the same slices with a change under ``changed(name)``.
        sources: of each slice: data of one origin, such as a hospital or a scanner.
        patients: of each slice.
        cases: of each slice: a scan, an image or a clip.

    Raises:
        ValueError: for fewer patients than parts that are held out in turn.

    Example:
        >>> detector = fit(features, sources, patients, cases)
    """
    count = len(set(patients))
    if count < PARTS_OF_DATA:
        raise ValueError(f"At least {PARTS_OF_DATA} patients are needed, got {count}. Give more scans.")
    source, case = np.asarray(sources), np.asarray(cases)
    part = parts_of(patients, PARTS_OF_DATA, sources)
    values = {name: np.zeros((len(part), 2)) for name in (TEXTURE, CONTENT)}  # of slices, held out
    pairs = {
        name: (features[each.part], features[changed(name)])
        for name, each in CHANGES.items()
        if changed(name) in features
    }
    logits = {name: np.zeros((len(part), 2)) for name in pairs}  # of the slice as it is, and changed
    for number in range(PARTS_OF_DATA):
        rest, out = part != number, part == number
        for name in values:
            values[name][out] = Gaussian.fit(features[name][rest], source[rest]).distances(features[name][out])
        for name, (plain, after) in pairs.items():
            side = Direction.fit(plain[rest], after[rest])
            logits[name][out] = np.stack([side.logits(plain[out]), side.logits(after[out])], 1)
    told = {name: float(np.mean([each[:, 0] < 0, each[:, 1] > 0])) for name, each in logits.items()}
    judged = [name for name in pairs if told[name] >= RELIABLE]
    slices = [case == each for each in np.unique(case)]
    measured = np.array(
        [
            np.concatenate(
                [
                    *(np.median(values[name][own], 0) for name in values),
                    [logits[name][own, 0].mean() for name in judged],
                ]
            )
            for own in slices
        ]
    )  # (cases, measures): two distances of each part, then the changes
    limits = _limits(measured, np.array([source[own][0] for own in slices]))
    directions = {}
    for place, name in enumerate(judged, start=4):
        directions[name] = replace(Direction.fit(*pairs[name]), limit=float(limits[place]))
    return Detector(
        {name: Gaussian.fit(features[name], source) for name in values},
        {TEXTURE: np.maximum(limits[:2], LEAST), CONTENT: np.maximum(limits[2:4], LEAST)},
        directions,
        {
            "sources": {str(name): len(set(case[source == name])) for name in np.unique(source)},
            "patients": count,
            "slices": len(case),
            "directions_told": {name: round(share, 4) for name, share in told.items()},
        },
    )


def _limits(measured: np.ndarray, sources: np.ndarray) -> np.ndarray:
    """Limits of measures (cases, measures) that ``PASSED`` of the cases of each source keep to, all at once.

    The limit of a measure is the same quantile for all measures, of the source in which it is highest.
    """
    groups = [measured[sources == name] for name in np.unique(sources)]
    for share in np.linspace(PASSED, 1, 26):
        limits: np.ndarray = np.max([np.quantile(each, share, axis=0, method="higher") for each in groups], 0)
        if all((each <= limits).all(1).mean() >= PASSED for each in groups):
            break
    return limits


def _spreads(centred: np.ndarray) -> np.ndarray:
    """Standard deviation of each feature (slices, features), not too small for a division."""
    spreads = centred.std(0)
    least = max(LEAST_SPREAD * float(np.median(spreads)), LEAST_SHARE * float(spreads.max()), LEAST)
    return np.asarray(np.maximum(spreads, least))


def _packed(array: np.ndarray) -> dict[str, Any]:
    """An array as JSON holds it: half precision of shares of its largest value, base64."""
    scale = float(np.abs(array).max()) or 1.0  # half precision ends at 65504
    text = base64.b64encode((array / scale).astype("<f2").tobytes()).decode("ascii")
    return {"shape": list(array.shape), "scale": scale, "float16": text}


def _unpacked(packed: Mapping[str, Any]) -> np.ndarray:
    """The array again.

    Raises:
        ValueError: for numbers that are none.
    """
    values = np.frombuffer(base64.b64decode(packed["float16"]), "<f2").astype(float) * packed.get("scale", 1.0)
    if not np.isfinite(values).all():
        raise ValueError("infinite numbers")
    return values.reshape(packed["shape"])
