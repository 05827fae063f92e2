"""One bundle over an archive of studies, on Ray (``python -m common.archive``)."""
