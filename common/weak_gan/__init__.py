"""The GAN that learns from image-level labels, its ablations, and the methods it is compared with."""
