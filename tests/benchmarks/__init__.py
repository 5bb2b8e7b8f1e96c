"""What a call of logsh costs, beside what people would use instead: ``python -m tests.benchmarks``."""
