"""`python -m deployments.cli` is `kontor`."""

import sys

from deployments.cli import main

if __name__ == "__main__":
    sys.exit(main())
