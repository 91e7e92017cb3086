"""Pictures and plots that the panels are made of."""
