"""What the studio knows: its state, the experiment, the data preview, preferences. No widgets."""
