"""A PACS over DICOMweb: list, fetch and send studies (``python -m common.pacs``), and infer from there and back."""
