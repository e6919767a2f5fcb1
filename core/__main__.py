"""`python -m pocketlens` is the same as `pocketlens`."""

from pocketlens.cli.main import main

if __name__ == "__main__":
    main()
