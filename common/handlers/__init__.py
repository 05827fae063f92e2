"""Handlers that MONAI and ignite lack: checkpoints to resume from, score tables, pictures."""
