"""A run on disk: its directory, its HDF5 file, its weights, export and figures."""
