"""Makes the completion scripts and the manual in this folder from the commands; not part of the wheel."""
