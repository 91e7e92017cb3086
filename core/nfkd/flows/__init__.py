"""Normalizing flows: bijections, couplings, and architectures."""
