"""Synthetic lung ultrasound."""
