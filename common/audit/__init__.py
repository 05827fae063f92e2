"""Where ground truth, lung and prediction of a scan disagree: a list and pictures for the reader of the annotation."""
