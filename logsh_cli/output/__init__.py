"""Results as values, and the ways to show them: plain lines, JSON, and rich on a terminal."""
