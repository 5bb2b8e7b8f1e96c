"""Many events from a stream of JSON lines: reading them, and pumping them through the delivery."""
