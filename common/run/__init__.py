"""What every run has in common: how it starts, how a step is run from Python, several processes."""
