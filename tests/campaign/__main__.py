"""python -m tests.campaign; see cli."""

import sys

from tests.campaign.cli import main

if __name__ == "__main__":
    sys.exit(main())
