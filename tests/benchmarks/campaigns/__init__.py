"""Campaigns against the promise: ``python -m tests.benchmarks.campaigns [NAME]... [--seed N] [--size N]``.

Each module is one: its ``campaign(dice, size)`` does its worst and returns a ``Toll``. Without a name all are run.
"""
