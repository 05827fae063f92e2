"""The papers' networks, one file per architecture."""
