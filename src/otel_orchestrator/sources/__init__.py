"""Where runs are read from: run files on this machine. One decoder for all sources."""
