"""Threshold and temperature of the decision for lesions, by cross-validation (``python -m common.calibrate``)."""
