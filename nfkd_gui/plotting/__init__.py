"""Plots and image grids that the panels use."""
