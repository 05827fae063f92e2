"""Training of the lung network, and its comparison with the lung by threshold."""
