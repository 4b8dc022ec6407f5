"""`python -m filecolumn`."""

from filecolumn.cli import main

main()
