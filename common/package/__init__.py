"""Bundles as zip files that run without this repository."""
