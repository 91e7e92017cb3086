"""The connection to the engine: clients, connection state, requests. No widgets."""
