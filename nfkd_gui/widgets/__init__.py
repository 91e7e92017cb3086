"""Widgets for any panel or dialog; they have no data of experiments or runs."""
