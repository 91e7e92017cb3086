"""The studio's state: experiment, data preview, runs, preferences. No widgets."""
