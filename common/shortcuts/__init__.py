"""Whether classes can be told by what should not tell them (``python -m common.shortcuts``)."""
