"""`python -m filecolumn`."""

from filecolumn.cli import main

if __name__ == "__main__":
    main()
