"""Synthetic chest CT and lung ultrasound, made from a seed, in the layouts of public datasets."""
