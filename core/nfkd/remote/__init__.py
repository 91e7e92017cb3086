"""Engines on other machines, reached over ssh: hosts, the ssh command, messages, a client. No torch, no h5py, no Qt."""
