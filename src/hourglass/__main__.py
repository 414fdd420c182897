"""`python -m hourglass` is the command `hourglass`."""

from hourglass.cli.main import main

if __name__ == "__main__":
    main()
