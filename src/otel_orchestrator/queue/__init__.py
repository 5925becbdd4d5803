"""The application's own tasks: how they are read, how many wait, how that is told."""
