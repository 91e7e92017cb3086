"""From a config to trained flows: stages, the loop, checkpoints, and the worker thread."""
