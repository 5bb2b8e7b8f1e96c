"""The only httpx: one request within one budget, over whichever address and proxy leads to the service."""
