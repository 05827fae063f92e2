"""Networks, datasets, transforms, phantoms and reports shared by the bundles. README.md beside this file is the map."""
