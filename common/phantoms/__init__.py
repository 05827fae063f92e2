"""Synthetic chest CT and lung ultrasound, generated from a seed, in the layouts of public datasets."""
