"""``python -m delivery.cli``."""

from delivery.cli import main

main()
