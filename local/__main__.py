"""Runs the watchdog's commands on this machine: python -m local COMMAND."""

import logging
import sys
from collections.abc import Sequence
from importlib import import_module

# Modules are imported when they are needed: importing the simulated AWS alone takes a second.
_COMMANDS = {
    "demo": "local.commands.demo:main",
    "console": "local.console.server:main",
    "replay": "local.replay.replay:main",
    "suggest": "local.suggest.suggest:main",
    "policy-check": "local.commands.policy_check:main",
    "policy-push": "local.commands.policy_live:push",
    "policy-show": "local.commands.policy_live:show",
    "policy-undo": "local.commands.policy_live:undo",
    "pull-events": "local.commands.pull_events:main",
    "deploy": "local.commands.deploy:main",
    "deploy-billing": "local.commands.deploy_billing:main",
    "finish-build": "local.commands.finish_build:main",
    "deploy-check": "local.deploy.check:main",
    "smoke": "local.deploy.smoke:main",
    "gallery": "local.gallery.page:main",
}


def main(arguments: Sequence[str]) -> int:
    """Run a command and return its exit status."""
    if not arguments or arguments[0] not in _COMMANDS:
        print(f"usage: python -m local {{{','.join(_COMMANDS)}}} ...", file=sys.stderr)
        return 2
    # Here, EC2 and ECS give no information: that is expected, so do not warn about it.
    logging.getLogger("batch_watchdog.diagnosis.gather").setLevel(logging.ERROR)
    module, _, name = _COMMANDS[arguments[0]].partition(":")
    return int(getattr(import_module(module), name)(arguments[1:]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
