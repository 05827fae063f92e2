"""Self-learning of DRSegUNet without manual labels (Balantrapu, *DRSegUNet*, 2021, sections 4.4 and 5.5)."""
