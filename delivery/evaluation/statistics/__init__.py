"""Whether a difference is real: intervals, paired tests, power."""
