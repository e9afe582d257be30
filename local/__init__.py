"""The watchdog on one machine: programs for a terminal, and what stands in for AWS."""

import sys
from pathlib import Path

# The package lies where Lambda's layer is built from; no installation puts it on the path.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "layers" / "watchdog"))
