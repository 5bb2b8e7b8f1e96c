"""Run a command as if logsh were not there, and tell how it ended."""
