"""``python -m processor``: the same as the console script."""

from processor.cli.main import main

if __name__ == "__main__":
    main()
