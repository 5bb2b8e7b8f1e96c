"""Where settings come from, and where a key may go: the user's file, the project's file, the environment."""
