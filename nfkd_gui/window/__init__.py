"""The main window: menus, actions, run bar, engine status, experiment files, dialogs."""
