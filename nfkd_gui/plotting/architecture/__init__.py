"""The drawing of an experiment's flows: levels, layout, items, and the view that edits the matched layers."""
