"""Rules of diagnosis broken on purpose."""

from collections.abc import Sequence

from tests.mutants.mutant import Mutant

MUTANTS: Sequence[Mutant] = (
    Mutant(
        "a queue of service jobs needs no compute environment",
        "diagnosis/environments.py",
        "if not is_for_service_jobs(queue):",
        "if True:",
        ("tests/unit/diagnosis/test_rules.py",),
    ),
    Mutant(
        "the first of a share waits for the jobs before it in the queue",
        "diagnosis/queue_position.py",
        "return self.number == 1 and _long_ago(self.since, now)",
        "return _long_ago(self.since, now)",
        ("tests/unit/diagnosis/test_rules.py",),
    ),
    Mutant(
        "a head that Batch says is blocked does not wait its turn",
        "diagnosis/undetermined.py",
        "return world.blocks or reason.startswith(_BLOCKED)",
        "return world.blocks",
        ("tests/unit/diagnosis/test_rules.py",),
    ),
    Mutant(
        "a job that blocks its queue does not wait its turn, whatever its place",
        "diagnosis/rules.py",
        "if world.blocks or (place and place.is_head):",
        "if place and place.is_head:",
        ("tests/unit/diagnosis/test_rules.py",),
    ),
    Mutant(
        "of a job that blocks its queue nothing is said that was found for others",
        "diagnosis/gather.py",
        'if blocks or detail["jobId"] in self._fronts[queue]:',
        'if detail["jobId"] in self._fronts[queue]:',
        ("tests/unit/diagnosis/test_gather.py",),
    ),
    Mutant(
        "the notice of a blocked queue tells the diagnosis that the job blocks it",
        "blocked_queues/workflow.py",
        ", blocks=True)",
        ")",
        ("tests/unit/blocked_queues/test_rules.py",),
    ),
    Mutant(
        "a remark on requirements is no cause unless the numbers prove it",
        "diagnosis/rules.py",
        "    if not numbers:\n        return []",
        "    if not numbers:\n        return [said]",
        ("tests/unit/diagnosis/test_rules.py",),
    ),
    Mutant(
        "where requirements are in doubt, only known sizes are said to take the job",
        "diagnosis/undetermined.py",
        "if not doubted or fits(each, needs)",
        "if True",
        ("tests/unit/diagnosis/test_rules.py",),
    ),
    Mutant(
        "a size of which a figure is missing is not known",
        "diagnosis/instance_types.py",
        "return None not in figures",
        "return True",
        ("tests/unit/diagnosis/test_rules.py",),
    ),
    Mutant(
        "what a job does not ask for fits into nothing",
        "diagnosis/fit.py",
        "        ask.vcpus\n        and ask.memory_mib\n        and any(",
        "        any(",
        ("tests/unit/diagnosis/test_rules.py",),
    ),
    Mutant(
        "the head of a queue waits its turn for ten minutes at most",
        "diagnosis/queue_position.py",
        "return self.number == 1 and _long_ago(self.since, now)",
        "return False",
        ("tests/unit/diagnosis/test_rules.py",),
    ),
    Mutant(
        "a head of which Batch does not say since when does not wait its turn",
        "diagnosis/queue_position.py",
        "return since is None or now - since > _HEAD_MAX",
        "return since is not None and now - since > _HEAD_MAX",
        ("tests/unit/diagnosis/test_rules.py",),
    ),
    Mutant(
        "the first of a share is a head",
        "diagnosis/queue_position.py",
        "return self.number == 1 or self.in_share == 1",
        "return self.number == 1",
        ("tests/unit/diagnosis/test_rules.py",),
    ),
    Mutant(
        "the first of a quota share is a head wherever it stands in the queue",
        "diagnosis/queue_position.py",
        "for name, front in shares.items():",
        "for name, front in ():",
        ("tests/unit/diagnosis/test_rules.py",),
    ),
    Mutant(
        "a job is first of its share only where the shares before it are known",
        "diagnosis/queue_position.py",
        "if any(job_id not in known for job_id in ids):",
        "if not known:",
        ("tests/unit/diagnosis/test_rules.py",),
    ),
    Mutant(
        "behind a first job that does not start, something needs repair",
        "diagnosis/rules.py",
        'remedy=_STANDSTILL_REMEDY if stuck else "",',
        'remedy=_STANDSTILL_REMEDY if False else "",',
        ("tests/unit/diagnosis/test_rules.py",),
    ),
    Mutant(
        "an environment that is not known may take the job",
        "diagnosis/environments.py",
        "if not details:",
        "if False:",
        ("tests/unit/diagnosis/test_rules.py",),
    ),
    Mutant(
        "instances that run without a job are not held by others",
        "diagnosis/room.py",
        "if environment.kept >= desired:  # The minimum keeps these running, even without jobs.",
        "if False:  # The minimum keeps these running, even without jobs.",
        ("tests/unit/diagnosis/test_rules.py",),
    ),
    Mutant(
        "what jobs hold may be in environments that do not take the job",
        "diagnosis/room.py",
        "if len(environments) < len(judged):",
        "if False:",
        ("tests/unit/diagnosis/test_rules.py",),
    ),
    Mutant(
        "a maximum that was reached for the job itself is not held by others",
        "diagnosis/room.py",
        "if by_others and (desired >= most or desired + wanted > most):",
        "if desired >= most or (by_others and desired + wanted > most):",
        ("tests/unit/diagnosis/test_rules.py",),
    ),
    Mutant(
        "what a job needs is not told where it is not known",
        "diagnosis/room.py",
        'wanted=amount(wanted, unit)) if wanted else ""',
        "wanted=amount(wanted, unit))",
        ("tests/unit/diagnosis/test_rules.py",),
    ),
    Mutant(
        "only instances that are kept keep a job out",
        "diagnosis/fit.py",
        ("        or environment.kept + max(ask.vcpus, 1) <= most\n"),
        "",
        ("tests/unit/diagnosis/test_rules.py",),
    ),
    Mutant(
        "a job that starts is not explained by what kept it waiting",
        "diagnosis/rules.py",
        "if said and status in ENDED:",
        "if said:",
        ("tests/unit/diagnosis/test_rules.py",),
    ),
    Mutant(
        "what is not known has no cause",
        "diagnosis/findings.py",
        '"undetermined": None,',
        '"undetermined": "capacity",',
        ("tests/integration/test_findings.py",),
    ),
    Mutant(
        "a place in the queue is never said of another job",
        "diagnosis/gather.py",
        'if blocks or detail["jobId"] in self._fronts[queue]:  # Its findings depend on its place.',
        "if False:  # Its findings depend on its place.",
        ("tests/unit/diagnosis/test_gather.py",),
    ),
    Mutant(
        "of jobs that start each has an answer of its own",
        "diagnosis/gather.py",
        'if detail["status"] in _NOT_IN_QUEUE:  # Its queue is not the reason.',
        "if False:  # Its queue is not the reason.",
        ("tests/unit/diagnosis/test_gather.py",),
    ),
    Mutant(
        "of some instances nothing is said of all",
        "diagnosis/gather.py",
        'if listed.get("nextToken"):  # Some of them say nothing about all.',
        "if False:  # Some of them say nothing about all.",
        ("tests/unit/diagnosis/test_gather.py",),
    ),
    Mutant(
        "instances that were not told of are not missing",
        "diagnosis/gather.py",
        "if instances is not None:",
        "if True:",
        ("tests/unit/diagnosis/test_gather.py",),
    ),
    Mutant(
        "what EC2 or ECS does not tell keeps no job from being stopped",
        "diagnosis/gather.py",
        "            return ask()\n        except ITEM_ERRORS as error:",
        "            return ask()\n        except RecursionError as error:",
        ("tests/integration/test_sweep.py",),
    ),
    Mutant(
        "a service that cannot be reached is asked once a sweep",
        "diagnosis/gather.py",
        "self._unreachable.add(service)",
        "pass",
        ("tests/unit/diagnosis/test_gather.py",),
    ),
    Mutant(
        "a queue of which Batch tells nothing is asked about once",
        "diagnosis/gather.py",
        "            except ITEM_ERRORS as error:\n                self._refused[queue] = error",
        "            except RecursionError as error:\n                self._refused[queue] = error",
        ("tests/unit/diagnosis/test_gather.py",),
    ),
    Mutant(
        "of a family that is told in part nothing is said",
        "diagnosis/gather.py",
        'return {each["InstanceType"]: each for page in pages for each in page["InstanceTypes"]}',
        (
            "found: dict[str, Any] = {}\n"
            "        try:\n"
            "            for page in pages:\n"
            '                found |= {each["InstanceType"]: each for each in page["InstanceTypes"]}\n'
            "        except ITEM_ERRORS:\n"
            "            pass\n"
            "        return found"
        ),
        ("tests/unit/diagnosis/test_gather.py",),
    ),
    Mutant(
        "what EC2 and ECS do not tell leaves a sweep most of its time",
        "wiring.py",
        "connect_timeout=2, read_timeout=4",
        "connect_timeout=2, read_timeout=60",
        ("tests/unit/diagnosis/test_gather.py",),
    ),
)
