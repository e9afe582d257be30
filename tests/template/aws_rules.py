"""
What AWS would say to a template, from facts that are written down or come with cfn-lint.

Each function yields problems in words, for a template as CloudFormation is given it. Names of IAM
actions and their resources are in facts/iam_actions.json; what CloudFormation can change without
replacing a resource, and which property names one, is in its schemas, which cfn-lint brings.
"""

import difflib
import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from cfnlint.schema.manager import PROVIDER_SCHEMA_MANAGER

type Template = Mapping[str, Any]

FACTS = Path(__file__).parent / "facts"
ACTIONS: Mapping[str, Any] = json.loads((FACTS / "iam_actions.json").read_text())["actions"]

ACCOUNT, REGION = "123456789012", "us-east-1"

# ---- Values that refer to something -------------------------------------------------------

# ARNs of resources, without partition, region and account; `{}` is the resource's name.
_ARNS: Mapping[str, str] = {
    "AWS::CloudWatch::Alarm": "cloudwatch:{region}:{account}:alarm:{}",
    "AWS::DynamoDB::Table": "dynamodb:{region}:{account}:table/{}",
    "AWS::Events::Rule": "events:{region}:{account}:rule/{}",
    "AWS::IAM::Role": "iam::{account}:role/{}",
    "AWS::KMS::Key": "kms:{region}:{account}:key/{}",
    "AWS::Lambda::Function": "lambda:{region}:{account}:function:{}",
    "AWS::Logs::LogGroup": "logs:{region}:{account}:log-group:{}:*",
    "AWS::SNS::Topic": "sns:{region}:{account}:{}",
    "AWS::SQS::Queue": "sqs:{region}:{account}:{}",
}
_REF_IS_AN_ARN = {"AWS::SNS::Topic", "AWS::IAM::ManagedPolicy", "AWS::Lambda::LayerVersion"}


def text_of(  # noqa: PLR0911 - one for each shape of a value
    value: Any, template: Template, stack: str, region: str = REGION
) -> str:
    """What a value comes to in a stack of this name. A name that AWS chooses begins with `?`."""
    match value:
        case {"Ref": str(name)}:
            return _ref(name, template, stack, region)
        case {"Fn::GetAtt": [str(name), "StreamArn"]}:
            return f"{_arn(name, template, stack, region)}/stream/2026"
        case {"Fn::GetAtt": [str(name), "Arn"]}:
            return _arn(name, template, stack, region)
        case {"Fn::GetAtt": [str(name), str(attribute)]}:
            return f"?{stack}-{name}-{attribute}"
        case {"Fn::Sub": str(text)}:
            return _sub(text, {}, template, stack, region)
        case {"Fn::Sub": [str(text), dict() as own]}:
            return _sub(text, own, template, stack, region)
        case {"Fn::If": [str(condition), then, otherwise]}:
            chosen = then if holds(condition, template, stack, region) else otherwise
            return text_of(chosen, template, stack, region)
        case str() as text if "${" in text:  # part of a document that Fn::Sub makes
            return _sub(text, {}, template, stack, region)
        case _:
            return str(value)


def holds(condition: Any, template: Template, stack: str, region: str = REGION) -> bool:
    """Whether a condition of the template holds where all parameters have their defaults."""
    match condition:
        case str() as name:
            return holds(template["Conditions"][name], template, stack, region)
        case {"Condition": str() as name}:
            return holds(name, template, stack, region)
        case {"Fn::And": list() as parts}:
            return all(holds(part, template, stack, region) for part in parts)
        case {"Fn::Or": list() as parts}:
            return any(holds(part, template, stack, region) for part in parts)
        case {"Fn::Not": [part]}:
            return not holds(part, template, stack, region)
        case {"Fn::Equals": [one, other]}:
            left, right = (text_of(each, template, stack, region) for each in (one, other))
            return left == right
    raise AssertionError(condition)


def _sub(text: str, own: Mapping[str, Any], template: Template, stack: str, region: str) -> str:
    def put(found: re.Match[str]) -> str:
        name, _, attribute = found[1].partition(".")
        if name in own:
            return text_of(own[name], template, stack, region)
        if attribute:
            return text_of({"Fn::GetAtt": [name, attribute]}, template, stack, region)
        return _ref(name, template, stack, region)

    return re.sub(r"\$\{([^}]+)\}", put, text)


def _ref(name: str, template: Template, stack: str, region: str) -> str:
    known = {
        "AWS::AccountId": ACCOUNT,
        "AWS::Partition": "aws",
        "AWS::Region": region,
        "AWS::StackName": stack,
        "AWS::NoValue": "",
    }
    if name in known:
        return known[name]
    if name in template.get("Parameters", {}):
        return str(template["Parameters"][name].get("Default", f"?{name}"))
    resource = template["Resources"][name]
    if resource["Type"] in _REF_IS_AN_ARN:
        return _arn(name, template, stack, region)
    return _name(name, template, stack, region)


def _name(logical_id: str, template: Template, stack: str, region: str) -> str:
    for property_ in naming_properties(template["Resources"][logical_id]["Type"]):
        value = template["Resources"][logical_id].get("Properties", {}).get(property_)
        if value is not None:
            return text_of(value, template, stack, region)
    return f"?{stack}-{logical_id}"


def _arn(logical_id: str, template: Template, stack: str, region: str) -> str:
    form = _ARNS.get(template["Resources"][logical_id]["Type"], "other:{region}:{account}:{}")
    name = _name(logical_id, template, stack, region)
    return "arn:aws:" + form.format(name, region=region, account=ACCOUNT)


# ---- CloudFormation's schemas -------------------------------------------------------------


@cache
def schema(kind: str, region: str = REGION) -> Mapping[str, Any]:
    """CloudFormation's schema of a type of resources."""
    found: Mapping[str, Any] = PROVIDER_SCHEMA_MANAGER.get_resource_schema(region, kind).schema
    return found


def naming_properties(kind: str) -> Sequence[str]:
    """The properties by which a template itself names a resource, which then must be free."""
    described = schema(kind)
    given = set(described.get("properties", {})) - _paths(described, "readOnlyProperties")
    identifying = _paths(described, "primaryIdentifier") & given
    named = {each for each in given if each == "Name" or each == f"{kind.rpartition('::')[2]}Name"}
    # A permission is named by what it permits, and by an id that CloudFormation chooses.
    is_named = len(described.get("primaryIdentifier", ())) == 1 or bool(named)
    return sorted((identifying | named | given & {"LayerName"}) if is_named else ())


def _paths(described: Mapping[str, Any], key: str) -> set[str]:
    return {
        path.removeprefix("/properties/").partition("/")[0] for path in described.get(key) or ()
    }


# ---- IAM ----------------------------------------------------------------------------------


def iam_problems(template: Template, stack: str = "watch") -> Iterator[str]:
    """Actions that IAM does not know, and resources that an action does not take."""
    for where, statement in statements(template):
        for action in listed(statement["Action"]):
            found = _actions(action)
            if not found:
                near = difflib.get_close_matches(action, ACTIONS, 1)
                meant = f"; is {near[0]} meant?" if near else ""
                yield f"{where}: IAM knows no action {action}{meant}"
            for given in listed(statement.get("Resource", "*")):
                resource = _chosen(given, template, stack)
                text = text_of(resource, template, stack)
                for name in found if resource != _NOTHING else ():
                    if problem := _resource_problem(name, text, own=where.endswith("KeyPolicy")):
                        yield f"{where}: {problem}"


_NOTHING = {"Ref": "AWS::NoValue"}


def _chosen(resource: Any, template: Template, stack: str) -> Any:
    """What a resource is that depends on a condition."""
    match resource:
        case {"Fn::If": [str(condition), then, otherwise]}:
            return then if holds(condition, template, stack) else otherwise
        case _:
            return resource


def _actions(action: str) -> list[str]:
    """The known actions that a name, perhaps with wildcards, stands for; case does not matter."""
    pattern = re.escape(action.lower()).replace(r"\*", ".*")
    return [name for name in ACTIONS if re.fullmatch(pattern, name.lower())]


def _resource_problem(action: str, resource: str, *, own: bool) -> str:
    facts = ACTIONS[action]
    if own:  # In the policy of a key, every resource is that key.
        return "" if resource == "*" else f"{action}: a key's policy is about *, not {resource}"
    if resource == "*":
        return "" if facts["anything"] else f"{action} takes a resource, and is given for all"
    if any(_takes(form, resource) for form in facts["resources"]):
        return ""
    takes = " or ".join(facts["resources"]) or "no resource, so it must be *"
    return f"{action} is given for {resource}, and takes {takes}"


def _takes(form: str, resource: str) -> bool:
    """Whether an ARN of this form can be meant by a resource of a policy, part by part."""
    parts = re.sub(r"\$\{\w+\}", "*", form).split(":", 5), resource.split(":", 5)
    return len(parts[0]) == len(parts[1]) and all(map(overlap, *parts))


@cache
def overlap(one: str, other: str) -> bool:
    """Whether some text matches both of two patterns in which `*` stands for anything."""
    if not one or not other:
        return set(one + other) <= {"*"}
    if one[0] == "*":
        return overlap(one[1:], other) or overlap(one, other[1:])
    if other[0] == "*":
        return overlap(other, one)
    return one[0] == other[0] and overlap(one[1:], other[1:])


def statements(template: Template) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every statement of every policy, with where it stands."""
    for name, resource in template["Resources"].items():
        for where, document in _documents(name, resource.get("Properties", {})):
            for statement in document["Statement"]:
                yield where, statement


def _documents(name: str, value: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
    match value:
        case dict():
            for key, each in value.items():
                if key in ("PolicyDocument", "KeyPolicy") and "Statement" in each:
                    yield f"{name}.{key}", each
                elif key == "PolicyDocument" and "Fn::Sub" in each:
                    yield f"{name}.{key}", json.loads(each["Fn::Sub"])
                else:
                    yield from _documents(name, each)
        case list():
            for each in value:
                yield from _documents(name, each)


def listed(value: Any) -> list[Any]:
    """A policy's list, of which one element may stand alone."""
    return value if isinstance(value, list) else [value]


def key_problems(template: Template) -> Iterator[str]:
    """Services that may publish to a topic, and may not use the key that encrypts it."""
    resources = template["Resources"]
    keys = {
        name: resource["Properties"].get("KmsMasterKeyId", {}).get("Fn::GetAtt", [""])[0]
        for name, resource in resources.items()
        if resource["Type"] == "AWS::SNS::Topic"
    }
    for policy in resources.values():
        if policy["Type"] != "AWS::SNS::TopicPolicy":
            continue
        for statement in policy["Properties"]["PolicyDocument"]["Statement"]:
            key = keys[statement["Resource"]["Ref"]]
            for service in listed(statement["Principal"]["Service"]):
                for action in ("kms:Decrypt", "kms:GenerateDataKey"):
                    if key and not _may(resources[key]["Properties"], service, action):
                        topic = statement["Resource"]["Ref"]
                        yield f"{service} may publish to {topic}, and has no {action} on {key}"


def _may(key: Mapping[str, Any], service: str, action: str) -> bool:
    return any(
        service in listed(statement["Principal"].get("Service", []))
        and any(overlap(each, action) for each in listed(statement["Action"]))
        for statement in key["KeyPolicy"]["Statement"]
    )


# ---- Names --------------------------------------------------------------------------------


def names(template: Template, stack: str, region: str = REGION) -> Iterator[tuple[str, str]]:
    """The names, by type, that a stack takes of an account in a region."""
    for resource in template["Resources"].values():
        for property_ in naming_properties(resource["Type"]):
            value = resource.get("Properties", {}).get(property_)
            if value is not None:
                name = text_of(value, template, stack, region)
                if not name.startswith("?"):
                    yield f"{resource['Type']}.{property_}", name
    for output in template.get("Outputs", {}).values():
        if "Export" in output:
            yield "export", text_of(output["Export"]["Name"], template, stack, region)


def collisions(*stacks: tuple[Template, str]) -> Iterator[str]:
    """Names that two of these stacks, in one account and region, both want."""
    takers: dict[tuple[str, str], list[str]] = defaultdict(list)
    for template, stack in stacks:
        for key in names(template, stack):
            takers[key].append(stack)
    for (kind, name), stacks_ in takers.items():
        if len(stacks_) > 1:
            yield f"{kind}: {name} is wanted by {' and '.join(stacks_)}"


# ---- Updates ------------------------------------------------------------------------------

# What holds something that is not in the template: items, messages, logs, what is encrypted.
HOLDS_DATA = {
    "AWS::DynamoDB::Table",
    "AWS::KMS::Key",
    "AWS::Logs::LogGroup",
    "AWS::SNS::Topic",  # its subscriptions
    "AWS::SQS::Queue",
    "AWS::SSM::Parameter",
}


def facts_of(template: Template) -> dict[str, Any]:
    """What matters of a released template to updates: of all that holds data."""
    return {
        name: {
            "Type": resource["Type"],
            "DeletionPolicy": resource.get("DeletionPolicy", "Delete"),
            "fixed": _fixed(resource),
        }
        for name, resource in template["Resources"].items()
        if resource["Type"] in HOLDS_DATA
    }


def _fixed(resource: Mapping[str, Any]) -> dict[str, Any]:
    """The properties that CloudFormation cannot change without making another resource."""
    described = schema(resource["Type"])
    fixed = _paths(described, "createOnlyProperties") | _FIXED.get(resource["Type"], set())
    return {name: value for name, value in resource.get("Properties", {}).items() if name in fixed}


# By their pages in CloudFormation's reference ("Update requires: Replacement", or refused).
_FIXED = {"AWS::DynamoDB::Table": {"KeySchema"}, "AWS::Logs::LogGroup": {"LogGroupClass"}}


def update_problems(released: Mapping[str, Any], template: Template) -> Iterator[str]:
    """What of a released stack an update to this template would lose."""
    now = facts_of(template)
    for name, was in released.items():
        if name not in now:
            if not was["DeletionPolicy"].startswith("Retain"):
                yield f"{name} ({was['Type']}) is removed, with what it holds"
        elif now[name]["Type"] != was["Type"] or now[name]["fixed"] != was["fixed"]:
            yield f"{name} ({was['Type']}) is replaced, and what it holds is left behind"


# ---- Limits -------------------------------------------------------------------------------

# https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cloudformation-limits.html
TEMPLATE_MAX = 1_000_000  # bytes in S3, from where `sam deploy` has CloudFormation read it
COUNTS = {"Resources": 500, "Parameters": 200, "Outputs": 200, "Mappings": 200}
# https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
ROLE_MAX, MANAGED_MAX, ATTACHED_MAX = 10_240, 6_144, 10
# https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
ENVIRONMENT_MAX = 4_096


def limit_problems(template: Template, stack: str = "x" * 128) -> Iterator[str]:
    """What is longer, or more, than AWS takes."""
    size = len(json.dumps(template).encode())
    if size > TEMPLATE_MAX:
        yield f"the template has {size} bytes, and {TEMPLATE_MAX} are allowed"
    for part, most in COUNTS.items():
        if len(template.get(part, {})) > most:
            yield f"the template has {len(template[part])} {part}, and {most} are allowed"
    for name, resource in template["Resources"].items():
        properties = resource.get("Properties", {})
        match resource["Type"]:
            case "AWS::IAM::Role":
                sizes = [_policy_size(each, template) for each in properties["Policies"]]
                yield from _over(f"the policies of {name}", sum(sizes), ROLE_MAX)
                attached = len(properties.get("ManagedPolicyArns", ()))
                yield from _over(f"managed policies attached to {name}", attached, ATTACHED_MAX)
            case "AWS::IAM::ManagedPolicy":
                yield from _over(name, _policy_size(properties, template), MANAGED_MAX)
            case "AWS::Lambda::Function":
                variables = properties["Environment"]["Variables"]
                length = sum(
                    len(key) + len(text_of(value, template, stack))
                    for key, value in variables.items()
                )
                yield from _over(f"the environment of {name}", length, ENVIRONMENT_MAX)


def _over(what: str, count: int, most: int) -> Iterator[str]:
    if count > most:
        yield f"{what}: {count}, and {most} are allowed"


def _policy_size(policy: Mapping[str, Any], template: Template) -> int:
    """Characters that IAM counts, which are those that are no white space."""

    def resolved(value: Any) -> Any:
        match value:
            case {"Ref": _} | {"Fn::GetAtt": _} | {"Fn::Sub": _}:
                # Names that AWS chooses have up to 80 characters.
                return text_of(value, template, "x" * 60)
            case dict():
                return {key: resolved(each) for key, each in value.items()}
            case list():
                return [resolved(each) for each in value]
            case _:
                return value

    return len(re.sub(r"\s", "", json.dumps(resolved(policy["PolicyDocument"]))))
