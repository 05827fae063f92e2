"""Public sources of COVID-19 lung imaging, each read in the layout that its own download has."""

from .image_label_sets import image_label_sets
from .planes import FrameDataset, SliceDataset
from .scan_dataset import KeepGoing, ScanDataset
from .slice_sets import record_sets, slice_sets, warn_of_shared_patients
from .sources import datalist
from .split import split, three_way_split
from .streams import FrameStream
from .ultrasound_labels import sixfold, split_augmented

__all__ = [
    "FrameDataset",
    "FrameStream",
    "KeepGoing",
    "ScanDataset",
    "SliceDataset",
    "datalist",
    "image_label_sets",
    "record_sets",
    "sixfold",
    "slice_sets",
    "split",
    "split_augmented",
    "three_way_split",
    "warn_of_shared_patients",
]
