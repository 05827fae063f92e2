"""From a PACS through a bundle and back (``python -m common.pacs``)."""
