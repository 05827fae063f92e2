"""Networks, datasets, transforms, phantoms and reports shared by the bundles."""
