"""The panels of the workspaces Train and Compare."""
