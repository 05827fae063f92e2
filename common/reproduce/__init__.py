"""A paper's tables by one command, with our numbers beside the paper's."""
