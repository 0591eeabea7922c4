"""`python -m cgstore` is `cgstore`."""

import sys

from cgstore.cli.app import main

if __name__ == "__main__":
    sys.exit(main())
