"""logsh: send events to Logsh from shell one-liners, cron jobs and CI steps."""

__version__ = "0.1.0"
