"""Ultrasound images and clips, read frame by frame as 8-bit grey levels."""
