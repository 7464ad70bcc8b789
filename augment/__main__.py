"""`python -m augment` and `torchrun -m augment` are the `augment` command."""

from augment.cli import main

if __name__ == "__main__":
    main()
