"""`python cli.py ...` in a checkout equals `augment ...`; never installed."""

from augment.cli import main

if __name__ == "__main__":
    main()
