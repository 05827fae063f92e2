"""Two runs compared case by case (``python -m common.compare``)."""
