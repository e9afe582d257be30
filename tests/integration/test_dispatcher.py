"""Between the services: when which function is called with what, and what becomes of failures."""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from batch_watchdog.store.table import Put
from batch_watchdog.wiring import container
from local.aws import stack as stacks
from local.aws.functions import Outcome
from local.aws.sources import Call
from local.aws.stack import Stack
from tests.bench import HANDLER, NOON, Bench

RESOURCES = """
  Rule:
    Type: AWS::Events::Rule
    Properties:
      EventPattern: { source: [aws.batch] }
      Targets: [{ Id: queue, Arn: !GetAtt Inbox.Arn }]
  Inbox:
    Type: AWS::SQS::Queue
    Properties:
      VisibilityTimeout: 90
      RedrivePolicy: { deadLetterTargetArn: !GetAtt Letters.Arn, maxReceiveCount: 2 }
  Reader:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: reader/
      Events:
        Inbox:
          Type: SQS
          Properties:
            Queue: !GetAtt Inbox.Arn
            BatchSize: 3
            MaximumBatchingWindowInSeconds: 5
            FunctionResponseTypes: [ReportBatchItemFailures]
            ScalingConfig: { MaximumConcurrency: 2 }
            FilterCriteria:
              Filters: [{ Pattern: '{"body": {"detail": {"skip": [{"exists": false}]}}}' }]
  Actor:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: actor/
      Events:
        Stream:
          Type: DynamoDB
          Properties:
            Stream: !GetAtt Table.StreamArn
            StartingPosition: TRIM_HORIZON
            BatchSize: 4
            MaximumBatchingWindowInSeconds: 1
            FunctionResponseTypes: [ReportBatchItemFailures]
            BisectBatchOnFunctionError: true
            MaximumRetryAttempts: 2
            MaximumRecordAgeInSeconds: 600
            FilterCriteria:
              Filters: [{ Pattern: '{"eventName": ["INSERT"]}' }]
  Ticker:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: ticker/
      Events:
        Minute: { Type: Schedule, Properties: { Schedule: rate(1 minute) } }
        Alarm: { Type: SNS, Properties: { Topic: !Ref Topic } }
"""


@pytest.fixture(scope="module")
def small_stack(template: Callable[..., Path]) -> Stack:
    return stacks.read(template(RESOURCES, reader=HANDLER, actor=HANDLER, ticker=HANDLER))


@pytest.fixture
def bench(small_stack: Stack) -> Bench:
    return Bench(small_stack)


def boom(event: Any) -> Any:
    raise RuntimeError("no luck")


# ---- Queues -------------------------------------------------------------------------------


def test_a_batch_is_handed_on_when_its_window_is_over(bench: Bench) -> None:
    bench.deliver(0)
    bench.deliver(4)
    bench.deliver(6)
    bench.run(minutes=1)

    assert bench.batches("reader") == [("12:00:05", 2), ("12:00:11", 1)]


def test_a_full_batch_does_not_wait(bench: Bench) -> None:
    for _ in range(7):
        bench.deliver(1)
    bench.run(minutes=1)

    assert bench.batches("reader") == [("12:00:01", 3), ("12:00:01", 3), ("12:00:06", 1)]


def test_a_batch_of_six_megabytes_is_full(bench: Bench) -> None:
    for _ in range(2):
        bench.deliver(1, text="x" * 3_500_000)
    bench.run(minutes=1)

    assert bench.batches("reader") == [("12:00:01", 1), ("12:00:06", 1)]


def test_a_record_is_as_lambda_hands_it_over(bench: Bench) -> None:
    bench.deliver(1)
    bench.run(seconds=10)

    [record] = bench.calls[0][2]["Records"]
    assert record["body"] == '{"source":"aws.batch","detail-type":"x","detail":{}}'
    assert record["attributes"] == {
        "ApproximateReceiveCount": "1",
        "SentTimestamp": "1767268801000",
        "SenderId": "AIDAEXAMPLE",
        "ApproximateFirstReceiveTimestamp": "1767268806000",
    }
    assert record["md5OfBody"] == hashlib.md5(record["body"].encode()).hexdigest()  # noqa: S324
    assert (record["eventSource"], record["awsRegion"]) == ("aws:sqs", "us-east-1")
    assert record["eventSourceARN"] in bench.stack.queues


def test_what_a_filter_does_not_want_is_not_handed_on(bench: Bench) -> None:
    bench.deliver(1, skip=True)
    bench.deliver(1, skip={})
    bench.run(minutes=1)

    assert bench.batches("reader") == [("12:00:06", 1)]


def test_a_reported_record_comes_back_alone_and_then_goes_to_the_dead_letters(
    bench: Bench,
) -> None:
    def second_fails(event: Any) -> Any:
        failed = [r for r in event["Records"] if '"n":2' in r["body"]]
        return {"batchItemFailures": [{"itemIdentifier": r["messageId"]} for r in failed]}

    bench.answers["reader"] = second_fails
    for number in range(3):
        bench.deliver(0, n=number)
    bench.run(hours=1)

    assert bench.batches("reader") == [("12:00:00", 3), ("12:01:35", 1)]
    [(at, reason, event)] = bench.letters
    assert (at, event) == ("12:03:05", '{"source":"aws.batch","detail-type":"x","detail":{"n":2}}')
    assert reason == "received 2 times; last error: the function reported it as failed"


def test_a_handler_that_raises_fails_its_whole_batch(bench: Bench) -> None:
    bench.answers["reader"] = boom
    bench.deliver(0)
    bench.deliver(1)
    bench.run(hours=1)

    assert bench.batches("reader") == [("12:00:05", 2), ("12:01:40", 2)]
    assert [reason for _, reason, _ in bench.letters] == [
        "received 2 times; last error: RuntimeError: no luck"
    ] * 2


@pytest.mark.parametrize(
    "answer", [{"batchItemFailures": [{"itemIdentifier": "other"}]}, {"batchItemFailures": [{}]}]
)
def test_an_answer_that_names_no_record_of_the_batch_fails_all_of_it(
    bench: Bench, answer: Any
) -> None:
    bench.answers["reader"] = lambda _: answer
    bench.deliver(0)
    bench.run(seconds=100)

    assert bench.batches("reader") == [("12:00:05", 1), ("12:01:40", 1)]


@pytest.mark.parametrize("answer", [None, {}, {"batchItemFailures": []}, "done"])
def test_any_other_answer_is_a_success(bench: Bench, answer: Any) -> None:
    bench.answers["reader"] = lambda _: answer
    bench.deliver(0)
    bench.run(hours=1)

    assert len(bench.batches("reader")) == 1


def test_no_more_invocations_than_allowed_are_under_way_at_once(bench: Bench) -> None:
    under_way: list[int] = [0]

    def takes_a_minute(event: Any) -> None:
        under_way.append(under_way[-1] + 1)
        bench.dispatcher.run(bench.dispatcher.clock.now + timedelta(minutes=1))
        under_way.append(under_way[-1] - 1)

    bench.answers["reader"] = takes_a_minute
    for _ in range(12):
        bench.deliver(0)
    bench.run(hours=1)

    assert len(bench.batches("reader")) == 4
    assert (max(under_way), under_way[-1]) == (2, 0)


def test_a_message_may_be_sent_with_a_delay(bench: Bench) -> None:
    [inbox] = [queue for arn, queue in bench.stack.queues.items() if "Inbox" in arn]
    sqs = bench.dispatcher.session.client("sqs")

    sqs.send_message(QueueUrl=inbox.url, MessageBody="{}", DelaySeconds=60)
    bench.run(hours=1)

    assert bench.batches("reader") == [("12:01:05", 1)]


def test_what_is_sent_to_a_queue_that_nobody_reads_is_a_dead_letter(bench: Bench) -> None:
    [letters] = [queue for arn, queue in bench.stack.queues.items() if "Letters" in arn]

    bench.dispatcher.session.client("sqs").send_message(
        QueueUrl=letters.url,
        MessageBody="what came",
        MessageAttributes={"reason": {"DataType": "String", "StringValue": "not understood"}},
    )

    assert bench.letters == [("12:00:00", "not understood", "what came")]


# ---- The stream ---------------------------------------------------------------------------


def test_writes_come_through_the_stream_in_batches(bench: Bench) -> None:
    bench.write("a", "b", "c", "d", "e")
    bench.dispatcher.table.write([Put({"pk": "a", "sk": "1"}, read=1)])
    bench.run(minutes=1)

    assert bench.batches("actor") == [("12:00:00", 4), ("12:00:01", 1)]
    record = bench.calls[0][2]["Records"][0]
    assert record["eventName"] == "INSERT"
    assert record["dynamodb"]["Keys"] == {"pk": {"S": "a"}, "sk": {"S": "1"}}
    assert record["dynamodb"]["NewImage"]["n"] == {"N": "7"}
    assert record["eventSourceARN"] == bench.stack.stream


def test_a_failed_batch_is_halved_until_the_culprit_is_alone(bench: Bench) -> None:
    def c_fails(event: Any) -> Any:
        if any(r["dynamodb"]["Keys"]["pk"]["S"] == "c" for r in event["Records"]):
            raise RuntimeError("no luck")

    bench.answers["actor"] = c_fails
    bench.write("a", "b", "c", "d")
    bench.run(hours=1)

    handed = [
        "".join(r["dynamodb"]["Keys"]["pk"]["S"] for r in event["Records"])
        for _, who, event in bench.calls
        if who == "actor"
    ]
    assert handed == ["abcd", "ab", "cd", "c", "c", "c", "d"]
    [(_, reason, record)] = bench.letters
    assert reason == "tried 3 times; last error: RuntimeError: no luck"
    assert record["dynamodb"]["Keys"]["pk"] == {"S": "c"}


def test_a_reported_record_is_tried_again_with_all_behind_it(bench: Bench) -> None:
    def c_fails_once(event: Any) -> Any:
        bench.answers["actor"] = lambda _: None
        number = event["Records"][2]["dynamodb"]["SequenceNumber"]
        return {"batchItemFailures": [{"itemIdentifier": number}]}

    bench.answers["actor"] = c_fails_once
    bench.write("a", "b", "c", "d")
    bench.write("e")
    bench.run(minutes=1)

    assert bench.batches("actor") == [("12:00:00", 4), ("12:00:02", 2), ("12:00:02", 1)]


def test_the_next_batch_of_a_stream_waits_for_the_one_before(bench: Bench) -> None:
    def takes_a_minute(event: Any) -> None:
        bench.dispatcher.run(bench.dispatcher.clock.now + timedelta(minutes=1))

    bench.answers["actor"] = takes_a_minute
    bench.write("a", "b", "c", "d")
    bench.write("e")
    bench.run(hours=1)

    assert bench.batches("actor") == [("12:00:00", 4), ("12:01:00", 1)]


def test_a_record_that_is_too_old_is_given_up(small_stack: Stack) -> None:
    sources = [replace(source, retries=-1) for source in small_stack.sources]
    bench = Bench(replace(small_stack, sources=tuple(sources)))
    bench.answers["actor"] = boom
    bench.write("a")
    bench.run(hours=1)

    [(at, reason, _)] = bench.letters
    assert (at, reason) == ("12:10:03", "older than 600 s when its turn came")


# ---- Schedules, events without a queue, topics --------------------------------------------


def test_a_schedule_tells_every_whole_minute(bench: Bench) -> None:
    bench.dispatcher.start(NOON + timedelta(seconds=30))
    bench.run(minutes=2)

    ticks = [(at, event["time"]) for at, who, event in bench.calls if who == "ticker"]
    assert ticks == [
        ("12:00:00", "2026-01-01T12:00:00Z"),
        ("12:01:00", "2026-01-01T12:01:00Z"),
        ("12:02:00", "2026-01-01T12:02:00Z"),
    ]
    assert bench.calls[0][2]["detail-type"] == "Scheduled Event"


def test_a_schedule_that_sleeps_wakes_at_a_whole_minute(bench: Bench) -> None:
    bench.dispatcher.start(NOON)
    bench.run(seconds=1)
    bench.dispatcher.sleep_until(NOON + timedelta(minutes=10, seconds=20))
    bench.run(minutes=12)

    ticks = [at for at, who, _ in bench.calls if who == "ticker"]
    assert ticks == ["12:00:00", "12:11:00", "12:12:00"]


def test_at_one_instant_events_come_first_and_the_schedule_last(bench: Bench) -> None:
    bench.dispatcher.start(NOON)
    for _ in range(3):
        bench.deliver(60)
    bench.run(minutes=1)

    assert [(at, who) for at, who, _ in bench.calls[1:]] == [
        ("12:01:00", "reader"),
        ("12:01:00", "ticker"),
    ]


def test_an_event_whose_function_fails_is_tried_twice_again(bench: Bench) -> None:
    bench.answers["ticker"] = boom
    record = {"Sns": {"TopicArn": next(iter(bench.stack.topics)), "Message": "m"}}

    assert bench.dispatcher.notify({"Records": [record]})
    bench.run(hours=1)

    assert [at for at, _, _ in bench.calls] == ["12:00:00", "12:01:00", "12:03:00"]
    assert bench.letters == [
        (
            "12:03:00",
            "ticker tried 3 times; last error: RuntimeError: no luck",
            {"Records": [record]},
        )
    ]


def test_a_foreign_topic_is_taken_for_the_one_of_the_alarms(bench: Bench) -> None:
    arn = "arn:aws:sns:us-east-1:111122223333:billing"

    assert bench.dispatcher.notify({"Records": [{"Sns": {"TopicArn": arn, "Message": "m"}}]})

    assert [who for _, who, _ in bench.calls] == ["ticker"]


def test_a_topic_refuses_what_sns_refuses(bench: Bench) -> None:
    sns = bench.dispatcher.session.client("sns")
    topic = next(iter(bench.stack.topics))

    for subject, message in (("x" * 100, "m"), ("a\nb", "m"), ("s", "m" * 300_000)):
        with pytest.raises(sns.exceptions.InvalidParameterException):
            sns.publish(TopicArn=topic, Subject=subject, Message=message)
    with pytest.raises(sns.exceptions.NotFoundException):
        sns.publish(TopicArn=topic + "x", Message="m")
    sns.publish(TopicArn=topic, Subject="s", Message="m")

    assert [at for at, _ in bench.messages] == ["12:00:00"]


# ---- Calls that take time -----------------------------------------------------------------


def calling(bench: Bench, times: int, log: list[str]) -> Callable[[Any], None]:
    """A handler that calls Batch so many times, and notes when each call was answered."""
    client = bench.dispatcher.session.client("batch")

    def answer(event: Any) -> None:
        for _ in range(times):
            client.describe_job_queues()
            log.append(f"{bench.dispatcher.clock.now:%H:%M:%S.%f}"[:-5])

    return answer


def test_a_call_takes_its_time_while_a_function_makes_it(small_stack: Stack) -> None:
    bench = Bench(small_stack, call_seconds={"batch": 0.5})
    log: list[str] = []
    bench.answers["reader"] = calling(bench, 3, log)
    bench.answers["ticker"] = calling(bench, 2, log)

    bench.dispatcher.session.client("batch").describe_job_queues()
    assert f"{bench.dispatcher.clock.now:%H:%M:%S}" == "12:00:00"
    for _ in range(3):
        bench.deliver(1)
    bench.run(seconds=2)
    bench.dispatcher.notify({"Records": [{"Sns": {"Message": "m"}}]})

    assert log == ["12:00:01.5", "12:00:02.0", "12:00:02.5", "12:00:03.0", "12:00:03.5"]
    bench.dispatcher.session.client("batch").describe_job_queues()
    assert f"{bench.dispatcher.clock.now:%H:%M:%S.%f}" == "12:00:03.500000"


def test_what_came_due_during_a_call_is_done_after_it_and_time_does_not_go_back(
    small_stack: Stack,
) -> None:
    bench = Bench(small_stack, call_seconds={"batch": 20})
    bench.answers["ticker"] = calling(bench, 1, [])
    for second in (1, 2, 30):
        bench.deliver(second)

    bench.dispatcher.notify({"Records": [{"Sns": {"Message": "m"}}]})
    bench.run(minutes=1)

    assert bench.batches("reader") == [("12:00:25", 2), ("12:00:35", 1)]


def test_batch_goes_on_during_a_call_and_all_else_is_late(small_stack: Stack) -> None:
    bench = Bench(small_stack, call_seconds={"batch": 20})
    bench.batch.add_world(
        {
            "jobQueues": [
                {
                    "jobQueueName": "q",
                    "computeEnvironmentOrder": [{"order": 1, "computeEnvironment": "ce"}],
                }
            ],
            "computeEnvironments": [{"computeEnvironmentName": "ce"}],
        }
    )
    log: list[str] = []
    bench.answers["ticker"] = calling(bench, 1, log)
    job = bench.batch.submit("a", "q", seconds=10)

    bench.dispatcher.notify({"Records": [{"Sns": {"Message": "m"}}]})

    [found] = bench.batch.call("DescribeJobs", {"jobs": [job]})["jobs"]
    assert found["status"] == "SUCCEEDED"
    assert bench.batches("reader") == []
    bench.run(seconds=30)
    assert bench.batches("reader") == [("12:00:20", 3), ("12:00:25", 1)]


def test_a_function_is_killed_when_its_time_is_over(small_stack: Stack) -> None:
    outcomes: list[Outcome] = []

    def noting(call: Call) -> Call:
        def called(arn: str, event: Any) -> Outcome:
            outcomes.append(call(arn, event))
            return outcomes[-1]

        return called

    bench = Bench(small_stack, call_seconds={"batch": 7}, around=noting)
    log: list[str] = []
    bench.answers["reader"] = calling(bench, 100, log)
    for _ in range(3):
        bench.deliver(1)
    bench.run(seconds=62)

    assert len(log) == 8  # The ninth would have ended after 63 s.
    assert [outcome.error for outcome in outcomes] == ["Crash: timed out after 60 s"]
    assert f"{bench.dispatcher.clock.now:%H:%M:%S}" == "12:01:02"
    bench.answers["reader"] = calling(bench, 8, log)
    bench.run(hours=1)
    assert bench.batches("reader") == [("12:00:01", 3), ("12:02:31", 3)]
    assert bench.letters == []


def test_a_function_sees_its_time_run_out(small_stack: Stack) -> None:
    bench = Bench(small_stack, call_seconds={"table": 2.5})
    seen: list[float] = []
    [ticker] = [arn for arn, each in small_stack.functions.items() if each.folder.name == "ticker"]

    def answer(event: Any) -> None:
        table = container().table
        table.write([Put({"pk": "a", "sk": "1"})])
        assert table.get("a", "1")
        assert len(table.get_many([("a", "1")])) == 1
        assert len(list(table.query("a"))) == 1
        seen.append((bench.dispatcher.clock.now - NOON).total_seconds())

    bench.answers["ticker"] = answer
    outcome = bench.dispatcher.functions.call(ticker, {})

    assert outcome.error == ""
    assert seen == [10]


# ---- The policy's parameter ---------------------------------------------------------------


def test_each_change_of_a_parameter_makes_another_version(bench: Bench) -> None:
    ssm = bench.dispatcher.session.client("ssm")

    def shown() -> tuple[str, int, str]:
        found = ssm.get_parameter(Name="/policy")["Parameter"]
        return found["Value"], found["Version"], f"{found['LastModifiedDate']:%Y %H:%M:%S}"

    assert shown() == ("#", 1, "1970 00:00:00")
    bench.run(minutes=1)
    assert ssm.put_parameter(Name="/policy", Value="x", Overwrite=True)["Version"] == 2
    assert shown() == ("x", 2, "2026 12:01:00")
    bench.run(minutes=2)
    bench.dispatcher.parameters["/policy"] = "x"
    assert shown() == ("x", 3, "2026 12:02:00")
