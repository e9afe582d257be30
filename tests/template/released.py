"""
Write down what matters of this template to updates of deployed stacks, when a version is released.

    python -m tests.template.released
"""

import json

from local.aws.stack import in_cloudformation
from tests.template.aws_rules import FACTS, facts_of

PATH = FACTS / "released.json"


def main() -> None:
    """Write tests/template/facts/released.json."""
    PATH.write_text(json.dumps(facts_of(in_cloudformation()), indent=1) + "\n")


if __name__ == "__main__":
    main()
