"""``python -m gorae`` and the command ``gorae``."""

import sys

from gorae.cli import main

if __name__ == "__main__":
    sys.exit(main())
