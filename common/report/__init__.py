"""Pictures and tables of a case and of a training."""
