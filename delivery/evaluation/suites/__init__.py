"""What systems are asked: the client's holdout, and suites that ship or come from a benchmark's own files."""
