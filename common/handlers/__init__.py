"""Handlers that MONAI and ignite lack: resumable checkpoints, epochs that can be repeated, tables and pictures."""

from .chosen import ChosenSlices
from .diagnoses import DiagnosisScores
from .lesions import LesionScores
from .localisation import LocalisationScores
from .pictures import ComparisonPicture
from .pixels import PixelScores
from .scores import ScoreTable
from .separation_picture import SeparationPicture
from .slices import SliceScores
from .training import Checkpoint, EarlyStop, EpochSeed, MetricsTable
from .volumes import VolumeScores

__all__ = [
    "Checkpoint",
    "ChosenSlices",
    "ComparisonPicture",
    "DiagnosisScores",
    "EarlyStop",
    "EpochSeed",
    "LesionScores",
    "LocalisationScores",
    "MetricsTable",
    "PixelScores",
    "ScoreTable",
    "SeparationPicture",
    "SliceScores",
    "VolumeScores",
]
