"""The GAN that learns from image-level labels, its ablations, and the methods that it is compared with."""
