"""Whether a scan or a clip resembles the data that a network has learned from."""
