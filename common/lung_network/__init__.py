"""A network that segments the lungs with their lesions in CT: its architecture, its weights, masks of scans."""
