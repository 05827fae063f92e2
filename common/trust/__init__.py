"""What is usual for the weights of a bundle, and how well the unusual is found (``python -m common.trust``)."""
