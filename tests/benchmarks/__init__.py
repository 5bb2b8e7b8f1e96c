"""The cost of a call of logsh, beside other programs that people could use: ``python -m tests.benchmarks``."""
