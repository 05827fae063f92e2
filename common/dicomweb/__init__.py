"""A DICOMweb server: list, fetch and send studies (``python -m common.dicomweb``)."""
