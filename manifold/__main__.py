"""`python -m manifold` is the command `manifold`."""

import sys

from manifold.cli import main

if __name__ == "__main__":
    sys.exit(main())
