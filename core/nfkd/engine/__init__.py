"""The engine: one process a user, which holds torch and the device, trains, and answers. Imports no Qt."""
