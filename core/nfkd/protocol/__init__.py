"""Messages between the engine and its clients, and their encoding. Imports neither torch nor Qt."""
