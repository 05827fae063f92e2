"""Cases, splits, and the slices and frames that networks are trained on."""
