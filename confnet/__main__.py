"""`python -m confnet` is the command `confnet`."""

from confnet.cli import main

if __name__ == "__main__":
    main()
