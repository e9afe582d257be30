"""Links lead into the console of the partition that the ARN names, and logs to where they are."""

import pytest

from batch_watchdog.notices.links import LogPlace, job_link, log_group, log_text, queue_link

QUEUE = "arn:aws:batch:eu-west-1:111122223333:job-queue/gpu"
STREAM = "render/default/0abc"


def of(partition: str) -> str:
    return QUEUE.replace("aws", partition, 1)


@pytest.mark.parametrize(
    ("partition", "host"),
    [
        ("aws", "console.aws.amazon.com"),
        ("aws-cn", "console.amazonaws.cn"),
        ("aws-us-gov", "console.amazonaws-us-gov.com"),
        ("aws-eusc", "console.amazonaws-eusc.eu"),
    ],
)
def test_a_link_leads_into_its_partitions_console(partition: str, host: str) -> None:
    begin = f"https://{host}/batch/home?region=eu-west-1#"

    assert job_link(of(partition), "1") == f"{begin}jobs/detail/1"
    assert queue_link(of(partition)).startswith(f"{begin}queues/detail/arn%3A{partition}%3A")


def test_where_no_console_is_known_the_name_stands_alone() -> None:
    assert job_link(of("aws-iso"), "1") == "1"
    assert queue_link(of("aws-iso")) == of("aws-iso")
    assert log_text(of("aws-iso"), STREAM, LogPlace()) == f"/aws/batch/job, stream {STREAM}"


@pytest.mark.parametrize(
    ("place", "group", "part"),
    [
        (LogPlace(), "/aws/batch/job", "region=eu-west-1#logsV2:log-groups/log-group/$252Faws"),
        (LogPlace(driver="awslogs", group="/acme"), "/acme", "log-group/$252Facme/log-events/"),
        (LogPlace(group="/acme", region="us-east-2"), "/acme", "region=us-east-2#logsV2"),
    ],
)
def test_a_log_is_in_the_group_and_the_region_that_the_job_names(
    place: LogPlace, group: str, part: str
) -> None:
    assert log_group(STREAM, place) == group
    assert part in log_text(QUEUE, STREAM, place)


@pytest.mark.parametrize(
    ("place", "word"), [(LogPlace(driver="splunk"), "splunk"), (LogPlace(pod="pod-7"), "pod-7")]
)
def test_a_log_that_is_elsewhere_has_no_link(place: LogPlace, word: str) -> None:
    text = log_text(QUEUE, STREAM, place)

    assert word in text
    assert "https" not in text
    assert log_group(STREAM, place) is None


def test_where_no_stream_is_known_nothing_is_said_of_the_log() -> None:
    assert not log_text(QUEUE, "", LogPlace())
    assert log_group("", LogPlace()) is None
