"""For a CPU-only torch beside the released torchvision, which is built for CUDA and then lacks two operators."""

try:
    import torchvision  # noqa: F401
except RuntimeError:  # operator torchvision::nms does not exist
    import torch

    library = torch.library.Library("torchvision", "DEF")
    for operator in ("nms", "qnms"):
        library.define(f"{operator}(Tensor boxes, Tensor scores, float iou_threshold) -> Tensor")
except ImportError:  # another environment's Python
    pass
