"""Normalizing flows: bijections, coupling, and the architectures made of them."""
