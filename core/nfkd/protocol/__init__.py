"""Requests, replies, events and the frames that they travel in. Imports neither torch nor Qt."""
