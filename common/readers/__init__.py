"""Files of scans, images and clips, read into one form."""
