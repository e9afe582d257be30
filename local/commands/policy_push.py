"""Put a policy into force: check it, then write it into the stack's SSM parameter."""

import sys
from collections.abc import Sequence
from pathlib import Path

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from local.commands.policy_check import PolicyFileError, read_policy_to_store


def main(arguments: Sequence[str]) -> int:
    """
    Run the command, `FILE PARAMETER`.

    Returns:
        The exit status: 2 where the policy is wrong, or AWS says no.
    """
    file, parameter = arguments
    try:
        _, text = read_policy_to_store(Path(file))
        boto3.client("ssm").put_parameter(
            Name=parameter, Value=text, Type="String", Tier="Intelligent-Tiering", Overwrite=True
        )
    except (PolicyFileError, BotoCoreError, ClientError) as error:
        print(error, file=sys.stderr)
        return 2
    print(f"{parameter} holds {file} now; it is in force within a minute.")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
