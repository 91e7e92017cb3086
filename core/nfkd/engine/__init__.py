"""The engine: one process per user that trains runs and answers requests. Imports no Qt."""
