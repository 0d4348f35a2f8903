"""The `fhec` command: the same as that of the Rust package."""

import signal
import sys

from fhec._native import command_line


def main() -> None:
    """Runs the command line and ends the process with its exit code."""
    # The command has handlers of its own, and ends at once where it has none.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    sys.exit(command_line(["fhec", *sys.argv[1:]]))


if __name__ == "__main__":
    main()
