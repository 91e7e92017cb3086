"""A run on disk: its directory, its HDF5 file, its weights, and what is made of them later."""
