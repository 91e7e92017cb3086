"""The connection to the engine: its client, the state of the connection, requests on their way. No widgets."""
