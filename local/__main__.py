"""python -m local COMMAND: the watchdog on this machine."""

import logging
import sys
from collections.abc import Sequence

from local.commands import (
    demo,
    deploy,
    deploy_billing,
    finish_build,
    policy_check,
    policy_live,
    pull_events,
)
from local.console import server
from local.deploy import check, smoke
from local.gallery import page as gallery
from local.replay import replay
from local.suggest import suggest

_COMMANDS = {
    "demo": demo.main,
    "console": server.main,
    "replay": replay.main,
    "suggest": suggest.main,
    "policy-check": policy_check.main,
    "policy-push": policy_live.push,
    "policy-show": policy_live.show,
    "policy-undo": policy_live.undo,
    "pull-events": pull_events.main,
    "deploy": deploy.main,
    "deploy-billing": deploy_billing.main,
    "finish-build": finish_build.main,
    "deploy-check": check.main,
    "smoke": smoke.main,
    "gallery": gallery.main,
}


def main(arguments: Sequence[str]) -> int:
    """Run a command; the answer is its exit status."""
    if not arguments or arguments[0] not in _COMMANDS:
        print(f"usage: python -m local {{{','.join(_COMMANDS)}}} ...", file=sys.stderr)
        return 2
    # EC2 and ECS tell nothing here: that they do not is no trouble worth a warning.
    logging.getLogger("batch_watchdog.diagnosis.gather").setLevel(logging.ERROR)
    return _COMMANDS[arguments[0]](arguments[1:])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
