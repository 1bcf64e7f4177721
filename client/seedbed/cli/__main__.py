"""`python -m seedbed.cli`."""

from seedbed.cli import main

main()
