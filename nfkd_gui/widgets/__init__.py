"""Widgets that know nothing about experiments and runs."""
