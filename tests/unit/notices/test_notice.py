"""What operators read: untrusted text made harmless, spans and lists as people write them."""

import unicodedata
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch_watchdog.notices.links import (
    DEFAULT_PLACE,
    LogPlace,
    job_link,
    log_group,
    log_text,
    queue_link,
)
from batch_watchdog.notices.notice import Notice, digest, subject
from batch_watchdog.notices.phrases import shorten
from batch_watchdog.notices.text import fact, iso, plain, ranges, span
from tests.makers import JOB, QUEUE, a_notice

any_text = st.text(st.characters(codec=None))  # half surrogate pairs, too


# ---- Untrusted text -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("render-17", "render-17"),
        ("Ünïcödé 日本語 🦊", "Ünïcödé 日本語 🦊"),
        ("two\r\nlines\tand\x00more", "two lines and more"),
        ("next\u0085line\u2028and\u2029paragraph", "next line and paragraph"),
        ("txt.\u202egpj.exe\u202c", "txt. gpj.exe"),
        ("\u2066a\u2069\u200bb\ufeffc", "a b c"),
        ("half \ud83d pair", "half pair"),
        ("<script>alert(1)</script>", "‹script›alert(1)‹/script›"),
        ("  wide   spaces\u3000here ", "wide spaces here"),
        ("", ""),
    ],
)
def test_plain_text_is_one_harmless_line(text: str, shown: str) -> None:
    assert plain(text) == shown


def test_plain_text_is_cut_where_it_is_too_long() -> None:
    assert plain("x" * 11, 10) == "x" * 9 + "…"
    assert plain("x" * 10, 10) == "x" * 10
    assert len(plain("x" * 1_000_000)) == 200


def is_one_line(text: str) -> bool:
    return all(char == " " or unicodedata.category(char)[0] not in "CZ" for char in text)


@given(any_text, st.integers(1, 300))
def test_plain_text_is_always_harmless(text: str, limit: int) -> None:
    shown = plain(text, limit)

    assert len(shown) <= limit
    assert is_one_line(shown)
    assert not {"<", ">"} & set(shown)
    assert plain(shown, limit) == shown


@given(any_text | any_text.map(lambda text: text * 50))
def test_a_subject_is_always_one_line_of_less_than_a_hundred_characters(text: str) -> None:
    line = subject(text)

    assert len(line) < 100
    assert is_one_line(line)
    line.encode()


@given(any_text.map(lambda text: text * 200))
def test_a_fact_is_bounded_and_fit_for_utf8(text: str) -> None:
    kept = fact(text)

    assert len(kept.encode().decode()) <= 1_000
    assert fact(kept) == kept


def test_a_fact_keeps_what_it_can() -> None:
    assert fact("<b>\u202e\nÜ🦊") == "<b>\u202e\nÜ🦊"
    assert fact("a\ud83db") == "a?b"


# ---- Numbers and times --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (-5, "0 s"),
        (0.4, "0 s"),
        (1, "1 s"),
        (59.6, "1 min"),
        (3_599, "59 min 59 s"),
        (3_600, "1 h"),
        (7_530, "2 h 5 min"),
        (86_400 * 3 + 3_600 * 4 + 59, "3 d 4 h"),
    ],
)
def test_a_span_is_told_in_its_two_largest_units(seconds: float, shown: str) -> None:
    assert span(seconds) == shown


def test_times_are_told_in_utc_to_the_second() -> None:
    two_hours_east = timezone(timedelta(hours=2))

    assert iso(datetime(2026, 1, 1, 14, 0, 5, 999_999, two_hours_east)) == "2026-01-01T12:00:05Z"


@given(st.datetimes(min_value=datetime(1000, 1, 1), max_value=datetime(9998, 1, 1)))  # noqa: DTZ001
def test_a_time_can_be_read_back(moment: datetime) -> None:
    moment = moment.replace(microsecond=0, tzinfo=UTC)

    assert datetime.fromisoformat(iso(moment)) == moment


@pytest.mark.parametrize(
    ("indices", "shown"),
    [
        ([], ""),
        ([3], "3"),
        ([9, 7, 8, 3], "3,7-9"),
        ([0, 1], "0-1"),
        ([1, 3, 5], "1,3,5"),
        ([4, 4, 5, 5], "4-5"),
        (range(10_000), "0-9999"),
    ],
)
def test_indices_are_written_as_ranges(indices: list[int], shown: str) -> None:
    assert ranges(indices) == shown


@given(st.sets(st.integers(0, 9_999)))
def test_ranges_lose_no_index(indices: set[int]) -> None:
    runs = [run.split("-") for run in ranges(indices).split(",") if run]
    read = [index for run in runs for index in range(int(run[0]), int(run[-1]) + 1)]

    assert read == sorted(indices)


def test_a_list_is_cut_at_a_comma_and_says_how_many_are_left() -> None:
    listing = ranges(range(0, 200, 2))

    short = shorten(listing, 20)

    assert short == "0,2,4,6,8,10,12,14, … (92 more in the facts)"
    assert shorten("0,2,4", 5) == "0,2,4"


@given(st.lists(st.integers(0, 9_999), min_size=1), st.integers(10, 100))
def test_what_is_cut_off_is_counted(indices: list[int], limit: int) -> None:
    listing = ",".join(map(str, indices))

    short = shorten(listing, limit)

    head, _, more = short.partition(", … (")
    assert head.count(",") + 1 + (int(more.split()[0]) if more else 0) == len(indices)


# ---- Digests ------------------------------------------------------------------------------


def notices(count: int) -> list[Notice]:
    return [a_notice(id=f"job-failed:{number}", subject=f"Job {number}") for number in range(count)]


def test_a_digest_stands_for_all_and_shows_twenty() -> None:
    folded = digest(notices(25))

    assert folded.kind == "digest"
    assert folded.subject == "25 × job-failed: Job 0"
    assert folded.facts["of"] == "job-failed"
    assert folded.facts["count"] == 25
    assert folded.facts["ids"] == [f"job-failed:{number}" for number in range(25)]
    assert "- Job 19\n- … and 5 more" in folded.text
    assert "Job 20" not in folded.text


def test_a_digest_is_as_severe_as_the_worst_in_it() -> None:
    folded = digest([a_notice(severity="info"), a_notice(severity="critical"), a_notice()])

    assert folded.severity == "critical"


def test_a_digest_has_the_same_id_each_time_and_another_one_for_other_notices() -> None:
    some, more = digest([a_notice(id="1"), a_notice(id="2")]), digest([a_notice(id="1")])

    assert some.id == digest([a_notice(id="1"), a_notice(id="2", text="else")]).id
    assert some.id != more.id


def test_a_digests_subject_is_harmless_even_if_its_notices_are_not() -> None:
    folded = digest([a_notice(subject="x\n" * 300)])

    assert len(folded.subject) < 100
    assert "\n" not in folded.subject


# ---- Links --------------------------------------------------------------------------------


def test_links_lead_to_the_job_its_queue_and_its_log() -> None:
    console = "https://console.aws.amazon.com"

    assert job_link(QUEUE, JOB) == f"{console}/batch/home?region=us-east-1#jobs/detail/{JOB}"
    assert queue_link(QUEUE).endswith(
        "#queues/detail/arn%3Aaws%3Abatch%3Aus-east-1%3A111122223333%3Ajob-queue/gpu"
    )
    # CloudWatch's console wants names encoded twice, with $ in place of %.
    assert log_text(QUEUE, "render/default/0a1b", DEFAULT_PLACE).endswith(
        "?region=us-east-1#logsV2:log-groups/log-group/$252Faws$252Fbatch$252Fjob"
        "/log-events/render$252Fdefault$252F0a1b"
    )


@given(any_text.map(fact))
def test_links_hold_no_character_that_could_end_them(text: str) -> None:
    place = LogPlace(group=text, region=text)
    for link in (job_link(QUEUE, text), queue_link(text), log_text(QUEUE, f"s{text}", place)):
        assert link.isascii()
        assert not set(link) & set(" \"'<>\\\n")


@pytest.mark.parametrize(
    ("partition", "console"),
    [
        ("aws", "console.aws.amazon.com"),
        ("aws-cn", "console.amazonaws.cn"),
        ("aws-us-gov", "console.amazonaws-us-gov.com"),
        ("aws-eusc", "console.amazonaws-eusc.eu"),
    ],
)
def test_each_partition_has_links_into_its_own_console(partition: str, console: str) -> None:
    queue = f"arn:{partition}:batch:there-1:111122223333:job-queue/q"

    for link in (job_link(queue, JOB), queue_link(queue), log_text(queue, "s", DEFAULT_PLACE)):
        assert link.startswith(f"https://{console}/")
        assert "?region=there-1#" in link


def test_no_link_is_made_up_for_a_partition_whose_console_is_not_known() -> None:
    queue = "arn:aws-moon:batch:moon-1:111122223333:job-queue/q"

    assert job_link(queue, JOB) == JOB
    assert queue_link(queue) == queue
    assert log_text(queue, "s", DEFAULT_PLACE) == "/aws/batch/job, stream s"


@pytest.mark.parametrize(
    ("arn", "region"),
    [
        (QUEUE, "us-east-1"),
        ("arn:aws-us-gov:batch:us-gov-west-1:111122223333:job-queue/q", "us-gov-west-1"),
        ("gpu", ""),
        ("", ""),
        ("arn:aws:batch:<b>:1:job-queue/q", ""),
    ],
)
def test_the_region_is_the_arns(arn: str, region: str) -> None:
    assert f"?region={region}#" in job_link(arn, JOB)


def test_a_log_is_in_the_group_and_the_region_that_the_job_names() -> None:
    place = LogPlace(driver="awslogs", group="/acme/render", region="eu-west-1")

    link = log_text(QUEUE, "render/default/0a1b", place)

    assert "?region=eu-west-1#logsV2:log-groups/log-group/$252Facme$252Frender/" in link
    assert log_group("render/default/0a1b", place) == "/acme/render"


@pytest.mark.parametrize("driver", ["splunk", "fluentd", "json-file", "awsfirelens"])
def test_a_log_that_another_driver_sends_elsewhere_has_no_link(driver: str) -> None:
    place = LogPlace(driver=driver, group="/acme/render")

    assert log_text(QUEUE, "stream", place).endswith(f"which is {driver}")
    assert log_group("stream", place) is None


def test_the_log_of_a_pod_is_with_its_cluster() -> None:
    told = log_text(QUEUE, "stream", LogPlace(pod="aws-batch.7"))

    assert "https://" not in told
    assert "aws-batch.7" in told


def test_nothing_is_said_of_a_log_that_nothing_is_known_of() -> None:
    assert log_text(QUEUE, "", DEFAULT_PLACE) == ""
