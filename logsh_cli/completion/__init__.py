"""Completion scripts and the manual: made from the commands, shipped as files, read as files."""
