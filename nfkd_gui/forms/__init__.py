"""The experiment form, generated from the configuration classes: a new field needs no form code."""
