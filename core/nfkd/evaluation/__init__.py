"""Evaluation of trained flows: likelihood, sample quality, throughput, interpolation, verdict and inspection."""
