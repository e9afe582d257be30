"""Check an account before a deployment, for `make deploy-check`. Nothing is changed."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError
from samtranslator.yaml_helper import yaml_parse

from local.commands.built_layer import LayerError, processor_of
from local.deploy.findings import Finding, asked
from local.deploy.rights import BUCKET, needed, refused, source_of
from local.deploy.stack_before import BROKEN, Findings, StackBefore, outputs_and_status

SERVICES = (
    "batch",
    "cloudformation",
    "cloudwatch",
    "dynamodb",
    "events",
    "kms",
    "lambda",
    "logs",
    "sns",
    "sqs",
    "ssm",
)
_CONCURRENT_MIN = 100  # below this, little is left for the account's other functions
_CONCURRENT_NEEDED = 10  # 5 and 2 for the two queues, and one each for sweep, act and console
_POLICIES_MAX = 10  # resource policies of CloudWatch Logs in an account and region
_SAM_STACK = "aws-sam-cli-managed-default"
_SHOWN = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """
    An account and a region, and the stack that is to be deployed there.

    `template` is the stack's template as CloudFormation gets it, `build` the folder of `sam build`,
    and `remembered` the file in which `sam deploy --guided` saves its parameters.
    """

    session: Any
    region: str
    stack: str
    template: Mapping[str, Any]
    build: Path
    remembered: Path

    def findings(self) -> Findings:
        """Yield what the checks find, in the order in which a deployment would meet it."""
        yield from self._build()
        yield from self._services()
        yield from asked("The caller's rights", self._rights, right="iam:SimulatePrincipalPolicy")
        yield from asked("The bucket for the code", self._bucket, right="s3:ListBucket")
        yield from StackBefore(
            session=self.session, region=self.region, stack=self.stack, remembered=self.remembered
        ).findings()
        yield from asked("Concurrency", self._concurrency, right="lambda:GetAccountSettings")
        yield from asked(
            "Log resource policies", self._log_policies, right="logs:DescribeResourcePolicies"
        )
        yield from asked("Job queues", self._job_queues, right="batch:DescribeJobQueues")

    def _client(self, service: str) -> Any:
        return self.session.client(service)

    # ---- On this machine ------------------------------------------------------------------

    def _build(self) -> Findings:
        try:
            template = yaml_parse((self.build / "template.yaml").read_text(encoding="utf-8"))
            processor = processor_of(self.build / "WatchdogLayer/python")
        except (FileNotFoundError, LayerError) as error:
            yield Finding(
                "refused", f"Nothing is built that could be deployed: {error}", "make build"
            )
            return
        if "Architecture" in template["Parameters"]:
            yield Finding("refused", f"The build in {self.build} is not finished.", "make build")
            return
        yield Finding("ok", f"Built for {processor}: functions and libraries.")

    # ---- The region -----------------------------------------------------------------------

    def _services(self) -> Findings:
        partition = self.session.get_partition_for_region(self.region)
        missing = [
            service
            for service in SERVICES
            if self.region not in self.session.get_available_regions(service, partition)
        ]
        if missing:
            yield Finding(
                "refused",
                f"AWS has no {', '.join(missing)} in {self.region}, as far as boto3 knows.",
                "Deploy where the job queues are. If AWS has opened it since: make pin, try again.",
            )
        else:
            yield Finding("ok", f"{self.region} has all services that the stack needs.")
        if self.region not in self.session.get_available_regions("xray", partition):
            yield Finding(
                "warning", f"AWS has no X-Ray in {self.region}: there are no traces.", "Nothing."
            )

    def _job_queues(self) -> Findings:
        pages = self._client("batch").get_paginator("describe_job_queues").paginate()
        count = sum(len(page["jobQueues"]) for page in pages)
        if count:
            yield Finding("ok", f"{count} job queues of AWS Batch are in {self.region}.")
        else:
            yield Finding(
                "warning",
                f"No job queue of AWS Batch is in {self.region}: there is nothing to watch.",
                "Is it the right region? AWS_REGION=…",
            )

    # ---- The caller -----------------------------------------------------------------------

    def _rights(self) -> Findings:
        caller = str(self._client("sts").get_caller_identity()["Arn"])
        if caller.endswith(":root"):
            yield Finding("warning", "The account's root user deploys.", "Use a role instead.")
            return
        iam = self._client("iam")
        missing = sorted(refused(iam, source_of(caller, iam), needed(self.template)))
        if not missing:
            yield Finding("ok", f"{caller} may create what is in the template.")
            return
        more = f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
        yield Finding(
            "refused",
            f"{caller} may not do {len(missing)} things that the deployment needs.",
            f"Ask whoever administers the account for {', '.join(missing[:_SHOWN])}{more}. (Asked "
            "for all resources: rights that are limited to some names look like none.)",
        )

    def _bucket(self) -> Findings:
        outputs, status = outputs_and_status(self._client("cloudformation"), _SAM_STACK)
        if status in BROKEN:
            yield Finding(
                "refused",
                f"The stack {_SAM_STACK}, with SAM CLI's bucket, is in {status}.",
                f"aws cloudformation delete-stack --region {self.region} --stack-name {_SAM_STACK}",
            )
        elif bucket := outputs.get("SourceBucket"):
            try:
                self._client("s3").head_bucket(Bucket=bucket)
            except ClientError as error:
                yield Finding(
                    "refused",
                    f"SAM CLI's bucket {bucket} cannot be used "
                    f"({error.response['Error']['Code']}).",
                    "Ask whoever administers the account for access to it; or, if it was deleted, "
                    f"delete the stack {_SAM_STACK}: it is made again.",
                )
            else:
                yield Finding("ok", f"The code goes to the bucket {bucket}.")
        else:
            yield Finding(
                "ok", f"SAM CLI will create a bucket for the code, with {', '.join(BUCKET)}."
            )

    # ---- Quotas ---------------------------------------------------------------------------

    def _concurrency(self) -> Findings:
        limit = self._client("lambda").get_account_settings()["AccountLimit"]
        free = int(limit["UnreservedConcurrentExecutions"])
        ask = (
            "Ask AWS for more: Service Quotas, AWS Lambda, Concurrent executions (L-B99A9384); "
            "1,000 is usual, and costs nothing."
        )
        if free < _CONCURRENT_NEEDED:
            yield Finding(
                "refused",
                f"The account lets {free} functions run at once: events, sweeps and stops would "
                "wait for each other.",
                ask,
            )
        elif free < _CONCURRENT_MIN:
            yield Finding(
                "warning",
                f"The account lets {free} functions run at once, as new accounts do: the watchdog "
                "takes up to 10, and other functions wait.",
                ask,
            )
        else:
            yield Finding("ok", f"{free} functions can run at once.")

    def _log_policies(self) -> Findings:
        pages = self._client("logs").get_paginator("describe_resource_policies").paginate()
        names = {each["policyName"] for page in pages for each in page["resourcePolicies"]}
        if len(names) >= _POLICIES_MAX and f"{self.stack}-events" not in names:
            yield Finding(
                "refused",
                f"The region has {len(names)} resource policies of CloudWatch Logs, of "
                f"{_POLICIES_MAX} that AWS allows.",
                "Deploy with KeepEventsDays=0, or have one of them deleted that nobody needs: aws "
                f"logs describe-resource-policies --region {self.region}",
            )
        else:
            yield Finding("ok", "There is room for a resource policy of CloudWatch Logs.")
