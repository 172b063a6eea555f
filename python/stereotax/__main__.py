"""The `stereotax` command: the same program as the binary."""

import sys

from . import _core


def main() -> int:
    """Run the command line of this process and return its exit code."""
    return _core.run_command(["stereotax", *sys.argv[1:]])


if __name__ == "__main__":
    sys.exit(main())
