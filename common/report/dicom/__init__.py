"""What inference gives back to a PACS: segmentations, structured reports, pictures."""
