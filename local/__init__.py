"""The watchdog on one machine: commands for a terminal, and a simulated AWS for them."""

import sys
from pathlib import Path

# batch_watchdog is in the folder from which Lambda's layer is built. It is not installed.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "layers" / "watchdog"))
