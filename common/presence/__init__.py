"""How well findings of ultrasound clips tell those that have them (``python -m common.presence``)."""
