"""The experiment form: made from the configuration itself, so that a new field needs no new form."""
