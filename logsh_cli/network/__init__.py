"""From a URL to bytes on a connection: look-up, proxies, and httpcore within one budget. Imports nothing."""
