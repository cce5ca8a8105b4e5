"""From answers to right, wrong or errored, and from those to metrics."""
