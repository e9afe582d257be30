"""Rules of guards broken on purpose."""

from collections.abc import Sequence

from tests.mutants.mutant import Mutant

MUTANTS: Sequence[Mutant] = (
    Mutant(
        "an older word about money changes nothing",
        "guards/rules.py",
        (
            "    fresh = [\n"
            "        (stage, signal)\n"
            "        for stage, signal in named\n"
            "        if signal not in known or is_newer(heard, known[signal])\n"
            "    ]\n"
        ),
        ("    fresh = [(stage, signal) for stage, signal in named if True]\n"),
    ),
    Mutant(
        "a harder stage is entered, a milder one is not",
        "guards/rules.py",
        "if hardness(hardest.action) <= hardness(before):",
        "if False:",
        ("tests/unit/guards/test_rules.py",),
    ),
    Mutant(
        "a guard is released when all its alarms are OK",
        "guards/rules.py",
        "if left := ringing(state, rule, moment.now):",
        "if left := frozenset():",
    ),
    Mutant(
        "what an alarm told is remembered, though nothing follows from it",
        "guards/workflow.py",
        "if decision.state == state and not decision.effects:",
        "if not decision.effects:",
    ),
    Mutant(
        "a guard in observe mode closes nothing",
        "guards/transition.py",
        "if not closes_queues(rule, state.entry.stage) or not is_enforced(state.entry, moment.mode):",
        "if not closes_queues(rule, state.entry.stage):",
        ("tests/unit/guards/test_rules.py",),
    ),
    Mutant(
        "queues that were closed already are not taken for the guard's own",
        "guards/stop_run/workflow.py",
        'open_ones = [each["jobQueueArn"] for each in queues if each.get("state") == "ENABLED"]',
        'open_ones = [each["jobQueueArn"] for each in queues]',
    ),
    Mutant(
        "a release opens what the guard closed",
        "guards/transition.py",
        "return [queue for queue in self.state.closed if queue not in self.held][:QUEUES_AT_ONCE]",
        "return []",
    ),
    Mutant(
        "entering a stage starts its run",
        "guards/workflow.py",
        "puts.append(run_items.put(stop_run.begin(name, entry, self.now), self.now))",
        "pass",
    ),
    Mutant(
        "a run that stands still is started again",
        "guards/workflow.py",
        "if run is None or stop_run.is_over(run) or self.now < run.due_at:",
        "if True:",
    ),
    Mutant(
        "a run is that of the current stage",
        "guards/stages.py",
        "return state.entry is not None and state.entry.run_id == run_id",
        "return state.entry is not None",
        ("tests/unit/guards/test_rules.py",),
    ),
    Mutant(
        "a run that observes only counts",
        "guards/stop_run/run.py",
        'observing=entry.mode == "observe",',
        "observing=False,",
    ),
    Mutant(
        "ids are written down before they are stopped",
        "guards/stop_run/stopping.py",
        (
            "        self.session.save(chunk)\n"
            "        if must_stop:\n"
            "            # A service job cannot be cancelled: what has begun since it was listed would end.\n"
            '            may_end_it = service and stage.entry.stage == "cancel"\n'
            "            self.stop_chunk("
            "replace(chunk, version=1), None if may_end_it else found.judged_at)\n"
        ),
        (
            "        if must_stop:\n"
            "            self.session.batch.stop_some(\n"
            "                chunk.how, chunk.stop[:50], chunk.reason, service=chunk.service\n"
            "            )\n"
            "        self.session.save(chunk)\n"
        ),
    ),
    Mutant(
        "what is spared is not stopped",
        "guards/stop_run/run.py",
        ('    if rule.spares(job):\n        return "spared"\n'),
        "",
    ),
    Mutant(
        "at cancel, what has started is left to run",
        "guards/precedence.py",
        'return status in WAITING or (action == "terminate" and status in STARTED)',
        "return status in WAITING or status in STARTED",
    ),
    Mutant(
        "a run leaves to run what has started, at cancel",
        "guards/stop_run/run.py",
        'if action == "cancel" and not waiting:',
        "if False:",
    ),
    Mutant(
        "what arrives while a stage is on is stopped",
        "guards/arrivals.py",
        'if held and held.mode == "enforce" and entry and change.at >= _second(entry.since):',
        "if False:",
    ),
    Mutant(
        "what arrives under a guard that observes is not stopped",
        "guards/arrivals.py",
        'if held and held.mode == "enforce" and entry and change.at >= _second(entry.since):',
        "if held and entry and change.at >= _second(entry.since):",
    ),
    Mutant(
        "a run that comes back judges by the rules in force",
        "guards/stop_run/workflow.py",
        'if (self.session.run.phase != "listing" or by_other_rules) and self._begin_look(stage):',
        'if self.session.run.phase != "listing" and self._begin_look(stage):',
        ("tests/integration/test_stop_runs.py",),
    ),
    Mutant(
        "a guard's stop is judged by the guard's stage of now",
        "guards/precedence.py",
        "if state is None or state.entry is None or not is_current(state, run_id):",
        "if state is None or state.entry is None:",
        ("tests/unit/actions/test_stop_rules.py",),
    ),
    Mutant(
        "a queue is not closed when no enforced stage asks for it any more",
        "guards/precedence.py",
        'return ("do", "") if held else ("drop", "no stage that is enforced closes the queue")',
        'return "do", ""',
        ("tests/unit/use_cases/test_act.py",),
    ),
    Mutant(
        "a queue is not reopened while a stage holds it closed",
        "guards/precedence.py",
        'return ("wait", "a stage that is on holds the queue closed") if held else ("do", "")',
        'return "do", ""',
        ("tests/unit/use_cases/test_act.py",),
    ),
    Mutant(
        "a queue that others have closed is not reopened by a guard",
        "guards/queue_updates.py",
        "return update.refused",
        "return False",
        ("tests/unit/guards/test_queue_updates.py",),
    ),
    Mutant(
        "a queue that is UPDATING is waited for",
        "guards/queue_updates.py",
        'if status == "UPDATING":  # Until it is over, its state may be the old one or the new one.',
        "if False:  # Until it is over, its state may be the old one or the new one.",
        ("tests/unit/guards/test_queue_updates.py",),
    ),
    Mutant(
        "a queue that stays wrong is told, once",
        "guards/queue_updates.py",
        "if self.now >= update.since + _TOLD_AFTER and not update.told:",
        "if self.now >= update.since + _TOLD_AFTER:",
        ("tests/unit/guards/test_queue_updates.py",),
    ),
    Mutant(
        "a budget at the turn of its period raises nothing",
        "guards/matching.py",
        "    if evidence.may_be_of_the_period_before:\n        return\n",
        "",
        ("tests/unit/guards/test_rules.py",),
    ),
    Mutant(
        "a budget's name means its 100 per cent",
        "guards/matching.py",
        "return limit.percent >= _WHOLE and (stage.forecast or not evidence.forecasted)",
        "return stage.forecast or not evidence.forecasted",
        ("tests/unit/guards/test_rules.py",),
    ),
    Mutant(
        "a budget's name means costs",
        "guards/matching.py",
        "if limit is None or not limit.is_cost or limit.below or limit.percent is None:",
        "if limit is None or limit.percent is None:",
        ("tests/unit/guards/test_rules.py",),
    ),
    Mutant(
        "another threshold is not the one that a stage names",
        "guards/matching.py",
        "return abs(given - wanted) <= slack + _ROUNDING",
        "return True",
        ("tests/unit/guards/test_rules.py",),
    ),
    Mutant(
        "an amount that may be read in two ways is not read",
        "guards/signals/amounts.py",
        ('        if "." in number:\n            return None\n'),
        "",
        ("tests/unit/guards/signals/test_envelope.py",),
    ),
    Mutant(
        "amounts in two units are not compared",
        "guards/signals/budgets.py",
        "if whole is None or not whole.value or limit.unit.casefold() != whole.unit.casefold():",
        "if whole is None or not whole.value:",
        ("tests/unit/guards/signals/test_envelope.py",),
    ),
    Mutant(
        "evidence is over with its period",
        "guards/stages.py",
        (
            "    return frozenset(\n"
            "        signal\n"
            "        for signal, heard in _in_alarm(state, rule)\n"
            "        if not ((ends := ends_of(signal, heard)) and ends <= now)\n"
            "    )\n"
        ),
        ("    return frozenset(signal for signal, heard in _in_alarm(state, rule))\n"),
        ("tests/unit/guards/test_rules.py",),
    ),
    Mutant(
        "a message of a period that is over is over on arrival",
        "guards/rules.py",
        (
            '    if heard.state == "ALARM" and (\n'
            "        (heard.ends and heard.ends <= moment.now) or (released_at and heard.at <= released_at)\n"
            "    ):\n"
        ),
        ('    if heard.state == "ALARM" and (released_at and heard.at <= released_at):\n'),
        ("tests/unit/guards/test_rules.py",),
    ),
    Mutant(
        "a guard is released when the period of its budget is over",
        "guards/rules.py",
        "if is_over(state, rule, moment.now):",
        "if False:",
        ("tests/unit/guards/test_rules.py",),
    ),
    Mutant(
        "a release ends what rang before it",
        "guards/transition.py",
        (
            "        alarms = {\n"
            '            signal: replace(heard, over=heard.state == "ALARM")\n'
            "            for signal, heard in self.state.alarms.items()\n"
            "        }\n"
        ),
        ("        alarms = {signal: heard for signal, heard in self.state.alarms.items()}\n"),
        ("tests/unit/guards/test_rules.py",),
    ),
    Mutant(
        "evidence that is older than an operator's release does not ring",
        "guards/rules.py",
        (
            '    if heard.state == "ALARM" and (\n'
            "        (heard.ends and heard.ends <= moment.now) or (released_at and heard.at <= released_at)\n"
            "    ):\n"
        ),
        (
            '    if heard.state == "ALARM" and ((heard.ends and heard.ends <= moment.now) or False):\n'
        ),
        ("tests/unit/guards/test_rules.py",),
    ),
    Mutant(
        "a stage that an operator set does not become harder by time",
        "guards/stages.py",
        "if harder.after_previous is None or state.entry.by or why_not_meant(state, rule, now):",
        "if harder.after_previous is None or why_not_meant(state, rule, now):",
        ("tests/unit/guards/test_rules.py",),
    ),
    Mutant(
        "the time under a hold does not count",
        "guards/stages.py",
        "at += end - max(begin, since)",
        "pass",
        ("tests/unit/guards/test_rules.py",),
    ),
    Mutant(
        "a time to come counts as that of the arrival",
        "guards/stages.py",
        "to_come = evidence.at > now + _CLOCKS_DIFFER",
        "to_come = False",
        ("tests/unit/guards/test_rules.py",),
    ),
    Mutant(
        "a repeat of a time to come is known",
        "guards/stages.py",
        "said=heard.said or known.said,",
        "said=heard.said,",
        ("tests/unit/guards/test_rules.py",),
    ),
    Mutant(
        "a release reopens the queues of a guard that the policy has lost",
        "guards/transition.py",
        'if self.mode == "observe" and not self.state.reopens:',
        'if self.mode == "observe":',
        ("tests/unit/guards/test_rules.py",),
    ),
    Mutant(
        "a guard that the policy has lost is announced",
        "guards/workflow.py",
        "if state.entry and not rule:",
        "if False:",
        ("tests/integration/test_guards.py",),
    ),
    Mutant(
        "a stage that the policy no longer has is not meant",
        "guards/stages.py",
        'return say("the policy has no stage {stage} for the guard any more", stage=entry.stage)',
        'return ""',
        ("tests/unit/guards/test_rules.py",),
    ),
    Mutant(
        "where nothing rings any more, a stage is not meant",
        "guards/stages.py",
        'return say("nothing rings any more of what the policy names for the guard")',
        'return ""',
        ("tests/unit/guards/test_rules.py",),
    ),
    Mutant(
        "what led to a stage must still be a reason for it",
        "guards/stages.py",
        '"the policy names for the stage {stage} nothing any more that led to it", stage=entry.stage',
        '""',
        ("tests/unit/guards/test_rules.py",),
    ),
    Mutant(
        "what an operator set is meant",
        "guards/stages.py",
        'if entry.by or rule.release == "manual":',
        'if rule.release == "manual":',
        ("tests/unit/guards/test_rules.py",),
    ),
    Mutant(
        "only operators release a manual guard",
        "guards/stages.py",
        'if entry.by or rule.release == "manual":',
        "if entry.by:",
        ("tests/unit/guards/test_rules.py",),
    ),
    Mutant(
        "a stage that is not meant is as good as calm",
        "guards/transition.py",
        'return in_force(moment.state, moment.mode) if is_meant else "calm"',
        "return in_force(moment.state, moment.mode)",
        ("tests/unit/guards/test_rules.py",),
    ),
    Mutant(
        "a stage that is not meant closes no queue",
        "guards/transition.py",
        "if why := why_not_meant(state, rule, moment.now):",
        'if why := "":',
        ("tests/unit/guards/test_rules.py",),
    ),
    Mutant(
        "a stage that is not meant holds no queue closed",
        "guards/precedence.py",
        ("        and not why_not_meant(state, rule, now)\n"),
        "",
        ("tests/unit/guards/test_rules.py",),
    ),
    Mutant(
        "a stage that is not meant stops nothing that arrives",
        "guards/precedence.py",
        ("        if not why_not_meant(state, rule, now)\n"),
        "",
        ("tests/unit/guards/test_rules.py",),
    ),
    Mutant(
        "a stop that was asked for is judged by whether the stage is still meant",
        "guards/precedence.py",
        "if why := why_not_meant(state, rule, now):",
        'if why := "":',
        ("tests/unit/guards/test_rules.py",),
    ),
    Mutant(
        "a run stops nothing when its stage is not meant any more",
        "guards/stop_run/session.py",
        "if stages.why_not_meant(state, rule, self.now):",
        "if False:",
        ("tests/integration/test_stop_runs.py",),
    ),
    Mutant(
        "a guard that names live budgets is judged once it has heard of them",
        "guards/workflow.py",
        "not (rule and rule.live_budgets) or stages.is_over(state, rule, self.now)",
        "True",
        ("tests/unit/guards/test_workflow.py",),
    ),
    Mutant(
        "a guard whose live budgets are over is released whatever it hears",
        "guards/workflow.py",
        "not (rule and rule.live_budgets) or stages.is_over(state, rule, self.now)",
        "not (rule and rule.live_budgets)",
        ("tests/unit/guards/test_workflow.py",),
    ),
    Mutant(
        "a guard waits for a live budget that another sweep is just telling of",
        "guards/workflow.py",
        "rule.live_budgets and rule.live_budgets <= {*budgets}",
        "rule.live_budgets",
        ("tests/unit/guards/test_workflow.py",),
    ),
    Mutant(
        "operators are told of a stage that is not meant",
        "guards/workflow.py",
        "if why := stages.why_not_meant(state, rule, self.now):",
        'if why := "":',
        ("tests/integration/test_guards.py",),
    ),
    Mutant(
        "what is over is released, and not told as not meant",
        "guards/workflow.py",
        "if not (state.entry and rule) or stages.is_over(state, rule, self.now):",
        "if not (state.entry and rule):",
        ("tests/integration/test_guards.py",),
    ),
    Mutant(
        "an alarm that has too little data makes nothing harder",
        "guards/stages.py",
        (
            "    return frozenset(\n"
            "        signal\n"
            "        for signal in ringing(state, rule, now)\n"
            "        if state.lacking.get(signal, BEFORE) <= state.alarms[signal].at\n"
            "    )\n"
        ),
        ("    return frozenset(signal for signal in ringing(state, rule, now) if True)\n"),
        ("tests/unit/guards/test_rules.py",),
    ),
    Mutant(
        "time in which all that rings has too little data does not count",
        "guards/stages.py",
        "return without_holds(since, harder.after_previous + state.doubted_for, operator_holds)",
        "return without_holds(since, harder.after_previous, operator_holds)",
        ("tests/unit/guards/test_rules.py",),
    ),
    Mutant(
        "time in doubt that is also under a hold is left out once",
        "guards/stages.py",
        "now - state.in_doubt_since - _held(state.in_doubt_since, now, operator_holds)",
        "now - state.in_doubt_since",
        ("tests/unit/guards/test_rules.py",),
    ),
    Mutant(
        "only a hold in the time of doubt shortens it",
        "guards/stages.py",
        "min(end, until) - max(begin, since) for begin, end in holds",
        "end - begin for begin, end in holds",
        ("tests/unit/guards/test_rules.py",),
    ),
    Mutant(
        "a time to come is not told as the time of an alarm",
        "guards/rules.py",
        "evidence = replace(evidence, at=heard.at)  # In words too: its own time may be still to come.",
        "pass  # In words too: its own time may be still to come.",
        ("tests/unit/guards/test_rules.py",),
    ),
    Mutant(
        "the time of the event stands in for that of an alarm that cannot be read",
        "guards/signals/cloudwatch.py",
        "timestamp: TimeOrNone = None",
        "timestamp: SignalTime | None = None",
        ("tests/unit/guards/signals/test_envelope.py",),
    ),
    Mutant(
        "what an alarm says of one contributor by SNS is no evidence",
        "guards/signals/cloudwatch.py",
        "    if _is_of_one_contributor(message):\n        return _OF_ONE_CONTRIBUTOR\n",
        "",
        ("tests/unit/use_cases/test_spend_alarm.py",),
    ),
    Mutant(
        "what an alarm says of one contributor by calling the function is no evidence",
        "guards/signals/cloudwatch.py",
        "    if _is_of_one_contributor(told):\n        return _OF_ONE_CONTRIBUTOR\n",
        "",
        ("tests/unit/guards/signals/test_envelope.py",),
    ),
    Mutant(
        "an alarm that tells of all its contributors counts",
        "guards/signals/cloudwatch.py",
        "isinstance(value, dict | str) and value and",
        "value and",
        ("tests/unit/guards/signals/test_envelope.py",),
    ),
    Mutant(
        "an alarm that calls the function counts whatever its state was before",
        "guards/signals/cloudwatch.py",
        'detail = {**data, "previousState": None}',
        "detail = {**data}",
        ("tests/unit/guards/signals/test_envelope.py",),
    ),
    Mutant(
        "what an alarm made harder goes back to what an operator set, at the OK",
        "guards/rules.py",
        ("        return go_back(moment, rule, operators)\n    if state.by_operator:\n"),
        ("        pass\n    if state.by_operator:\n"),
        ("tests/unit/guards/test_rules.py",),
    ),
    Mutant(
        "what made an operator's stage harder may be over without an OK",
        "guards/rules.py",
        (
            "        return go_back(moment, rule, operators)\n"
            '    if in_force(state, moment.mode) == "calm":\n'
        ),
        ('        pass\n    if in_force(state, moment.mode) == "calm":\n'),
        ("tests/unit/guards/test_rules.py",),
    ),
    Mutant(
        "a guard goes back to an operator's stage only where nothing asks for more",
        "guards/stages.py",
        (
            "if entry is None or entry.by or not state.by_operator"
            " or not why_not_meant(state, rule, now):"
        ),
        "if entry is None or entry.by or not state.by_operator:",
        ("tests/unit/guards/test_rules.py",),
    ),
    Mutant(
        "a guard goes back to what an operator set last",
        "guards/stages.py",
        "(each.entry for each in reversed(state.earlier) if each.entry.by)",
        "(each.entry for each in state.earlier if each.entry.by)",
        ("tests/unit/guards/test_rules.py",),
    ),
    Mutant(
        "a guard goes back to no stage that was set in another mode, or that it has no more",
        "guards/stages.py",
        "if back is None or back.mode != mode or stage_of(rule, back.stage) is None:",
        "if back is None:",
        ("tests/unit/guards/test_rules.py",),
    ),
    Mutant(
        "a guard goes back to no harder stage",
        "guards/stages.py",
        "return back if hardness(back.stage) <= hardness(entry.stage) else None",
        "return back",
        ("tests/unit/guards/test_rules.py",),
    ),
    Mutant(
        "a guard that has gone back to an operator's stage is not told of as one nobody asks for",
        "guards/workflow.py",
        "if stages.operators_stage(state, rule, self.policy.mode_of(rule), self.now):",
        "if False:",
        ("tests/integration/test_guards.py",),
    ),
    Mutant(
        "a stop is not made under a hold that came between two calls",
        "guards/stop_run/session.py",
        "if operator_hold.read(table).is_on:",
        "if False:",
        ("tests/integration/test_stop_runs.py",),
    ),
    Mutant(
        "jobs of an earlier invocation are judged again",
        "guards/stop_run/stopping.py",
        "upto=len(chunk.stop) if judged_at else chunk.asked,",
        "upto=len(chunk.stop),",
        ("tests/integration/test_stop_runs.py",),
    ),
    Mutant(
        "jobs that were judged too long ago are judged again",
        "guards/stop_run/stopping.py",
        "if self.session.now - judged.at > stop_run.JUDGED_FOR or stage.policy != judged.by:",
        "if stage.policy != judged.by:",
        ("tests/integration/test_stop_runs.py",),
    ),
    Mutant(
        "accepted is not stopped",
        "guards/stop_run/tally.py",
        ("        if job in self._alive:\n            return _Fate.NOT_ENDED\n"),
        "",
        ("tests/unit/guards/stop_run/test_run.py",),
    ),
    Mutant(
        "a stop that no look has followed is not known",
        "guards/stop_run/tally.py",
        "return _Fate.NOT_KNOWN if job in self._recent or job in self._unproven else fate",
        "return _Fate.NOT_KNOWN if job in self._unproven else fate",
        ("tests/unit/guards/stop_run/test_run.py",),
    ),
    Mutant(
        "jobs that do not end are looked for before the report",
        "guards/stop_run/run.py",
        "return bool(run.accepted or (run.alive and not run.reported)) and run.look < LOOKS_MAX",
        "return bool(run.accepted) and run.look < LOOKS_MAX",
        ("tests/unit/guards/stop_run/test_run.py",),
    ),
    Mutant(
        "jobs that do not end are announced",
        "guards/stop_run/workflow.py",
        "trouble = None if self.session.run.warned else self._still_there(stage)",
        "trouble = None",
        ("tests/integration/test_stop_runs.py",),
    ),
    Mutant(
        "a service job is looked at in the second in which a guard would cancel it",
        "guards/stop_run/stopping.py",
        'may_end_it = service and stage.entry.stage == "cancel"',
        "may_end_it = False",
        ("tests/integration/test_stop_runs.py",),
    ),
    Mutant(
        "whom a definition may spare is described where a list lacks it",
        "guards/stop_run/listing.py",
        "if not shows(each, names)",
        "if False",
        ("tests/integration/test_stop_runs.py",),
    ),
    Mutant(
        "who may be spared by what a description lacks is not stopped",
        "guards/stop_run/listing.py",
        'if shows(detail, ("tags", *names))',
        'if shows(detail, ("tags",))',
        ("tests/integration/test_stop_runs.py",),
    ),
    Mutant(
        "what a late list shows is asked about",
        "guards/stop_run/listing.py",
        "if stop_run.must_be_sure(self.session.run):",
        "if False:",
        ("tests/integration/test_stop_runs.py",),
    ),
    Mutant(
        "a job that succeeded in spite of its stop has escaped",
        "guards/stop_run/workflow.py",
        "EndsReader(session=self.session, stopper=stopper).settle(stage)",
        "pass",
        ("tests/integration/test_stop_runs.py",),
    ),
    Mutant(
        "what was to be stopped on its arrival counts once its end is shown",
        "guards/stop_run/tally.py",
        "if chunk.arrived or array_child(job_id):",
        "if array_child(job_id):",
        ("tests/unit/guards/stop_run/test_run.py",),
    ),
    Mutant(
        "a child that was stopped singly counts once its end is shown",
        "guards/stop_run/tally.py",
        "if chunk.arrived or array_child(job_id):",
        "if chunk.arrived:",
        ("tests/unit/guards/stop_run/test_run.py",),
    ),
    Mutant(
        "of an array's children no more were stopped than have failed",
        "guards/stop_run/tally.py",
        "stopped = min(gone, failed or 0)",
        "stopped = gone",
        ("tests/unit/guards/stop_run/test_run.py",),
    ),
    Mutant(
        "of an array's children no more were stopped than are gone",
        "guards/stop_run/tally.py",
        "gone = max(0, min(asked, count - at_work) - alive)",
        "gone = asked - alive",
        ("tests/unit/guards/stop_run/test_run.py",),
    ),
    Mutant(
        "only its reason shows that a job ended by its stop",
        "guards/stop_run/run.py",
        'is_ours = detail["status"] == "FAILED" and detail.get("statusReason") == reason',
        'is_ours = detail["status"] == "FAILED"',
        ("tests/unit/guards/stop_run/test_run.py",),
    ),
    Mutant(
        "after stops a look lists what has started too",
        "guards/stop_run/run.py",
        'started = () if action == "cancel" and run.reported and not run.thorough else STARTED',
        'started = () if action == "cancel" and run.reported else STARTED',
        ("tests/unit/guards/stop_run/test_run.py",),
    ),
    Mutant(
        "stops on arrival are asked about after the report, too",
        "guards/stop_run/ends.py",
        "if next(run_items.arrived(table, run.run_id, since), None) is None:",
        "if run.reported:",
        ("tests/integration/test_guards.py",),
    ),
    Mutant(
        "children of an array that was never asked to stop failed by themselves",
        "guards/stop_run/ends.py",
        "if not accepted:",
        "if False:",
        ("tests/simulation/test_simulation.py",),
    ),
    Mutant(
        "a child that failed at work was not cancelled",
        "guards/stop_run/ends.py",
        "failed = sum(stop_run.failed_waiting(child, reason) for child in children)",
        "failed = len(children)",
        ("tests/integration/test_stop_runs.py",),
    ),
    Mutant(
        "what a stage that observed would have stopped is not told as stopped",
        "guards/release_notices.py",
        'facts=facts_of(guard, "calm", "release", entry.mode)',
        'facts=facts_of(guard, "calm", "release", release.mode)',
        ("tests/simulation/test_simulation.py",),
    ),
    Mutant(
        "an anomaly that arrives twice is one",
        "guards/stages.py",
        "        key in known.impacts and impact <= known.impacts[key] * _GROWN\n",
        "        False and impact <= known.impacts[key]\n",
        ("tests/unit/guards/test_rules.py",),
    ),
    Mutant(
        "two alarms of one name are two",
        "guards/stages.py",
        'return f"{signal}\\n{arn}"',
        "return signal",
        ("tests/unit/guards/test_rules.py",),
    ),
    Mutant(
        "a per cent that is rounded too coarsely raises nothing",
        "guards/matching.py",
        "if in_percent and slack > _SLACK_MAX:",
        "if False:",
        ("tests/unit/guards/test_rules.py",),
    ),
    Mutant(
        "the name of a budget is not its period",
        "guards/signals/budgets.py",
        '.replace(f"your {_one_line(name)} budget", "your budget")',
        '.replace(name, "")',
        ("tests/unit/guards/signals/test_envelope.py",),
    ),
    Mutant(
        "a child that was stopped singly is not refused with its array",
        "guards/stop_run/tally.py",
        "failed[self._why[hash(array_id)]] -= 1",
        "pass",
        ("tests/unit/guards/stop_run/test_run.py",),
    ),
    Mutant(
        "the OK of an alarm that the policy does not name is kept",
        "guards/rules.py",
        'elif evidence.state == "OK" and is_newer(heard, known := alarms[signal]):',
        "elif False:",
        ("tests/unit/guards/test_rules.py",),
    ),
    Mutant(
        "too little data of an alarm that the policy does not name is kept",
        "guards/rules.py",
        "lacking[signal] = max(heard.at, lacking.get(signal, BEFORE))",
        "pass",
        ("tests/unit/guards/test_rules.py",),
    ),
    Mutant(
        "too little data reaches guards that do not name the alarm now",
        "use_cases/spend_alarm.py",
        'if read.state != "ALARM":',
        'if read.state == "OK":',
        ("tests/unit/use_cases/test_spend_alarm.py",),
    ),
    Mutant(
        "an anomaly that one route rounds is the same",
        "guards/stages.py",
        "impact <= known.impacts[key] * _GROWN",
        "impact <= known.impacts[key]",
        ("tests/unit/guards/test_rules.py",),
    ),
    Mutant(
        "an anomaly of an older message is known by its second message",
        "guards/stages.py",
        "return replace(known, impacts=_impacts(known, heard))",
        "return known",
        ("tests/unit/guards/test_rules.py",),
    ),
    Mutant(
        "the anomalies that were reported last are kept",
        "guards/stages.py",
        "if item[0] not in heard.impacts]",
        "]",
        ("tests/unit/guards/test_rules.py",),
    ),
    Mutant(
        "an impact that is not a finite number is unknown",
        "guards/signals/anomalies.py",
        "class _Impact(LenientModel, allow_inf_nan=False):",
        "class _Impact(LenientModel):",
        ("tests/unit/guards/signals/test_envelope.py",),
    ),
    Mutant(
        "the time of the message stands in for an alarm's that cannot be read",
        "guards/signals/cloudwatch.py",
        "    StateChangeTime: TimeOrNone = None\n",
        "    StateChangeTime: datetime | None = None\n",
        ("tests/unit/guards/signals/test_envelope.py",),
    ),
    Mutant(
        "a notice tells two alarms of one name apart",
        "guards/matching.py",
        'return f"{name_of(signal)} ({arn})" if arn else name_of(signal)',
        "return name_of(signal)",
        ("tests/unit/guards/test_rules.py",),
    ),
    Mutant(
        "the sentence of a budget is read without its name",
        "guards/signals/budgets.py",
        'sentence = text.partition("Budget Name")[0].lower()',
        'sentence = prose.partition("Budget Name")[0].lower()',
        ("tests/unit/guards/signals/test_envelope.py",),
    ),
    Mutant(
        "children that failed before their array was stopped were not stopped",
        "guards/stop_run/ends.py",
        "failed = max(0, failed - unsettled.failed_before.get(array_id, 0))",
        "pass",
        ("tests/integration/test_guards.py",),
    ),
    Mutant(
        "a release tells all stages since the guard was last calm",
        "guards/transition.py",
        "        return (*self.state.earlier, left)[-EARLIER_MAX:]\n",
        "        return ()\n",
        ("tests/integration/test_guards.py",),
    ),
    Mutant(
        "a report leaves out what is nought",
        "guards/stop_run/counts.py",
        "        if count\n",
        "",
        ("tests/integration/test_guards.py",),
    ),
    Mutant(
        "what arrives of an array is judged by its tags",
        "policy/child_tags.py",
        "(change.parent_id or not knows_tags(change.tags))",
        "not knows_tags(change.tags)",
        ("tests/unit/guards/test_arrivals.py",),
    ),
    Mutant(
        "a child is judged again by its array's tags",
        "guards/stop_run/session.py",
        "self.batch.describe_service if service else jobs.described",
        "self.batch.describe_service if service else self.batch.describe",
        ("tests/unit/guards/stop_run/test_session.py",),
    ),
    Mutant(
        "a service job that runs on after its stop was accepted was not cancelled",
        "guards/stop_run/ends.py",
        "                found.alive[job_id] = 1\n            else:",
        "                pass\n            else:",
        ("tests/integration/test_stop_runs.py",),
    ),
    Mutant(
        "of an array that still waits in part, what is at work was not cancelled",
        "guards/stop_run/tally.py",
        "for array_id in (*chunk.left, *chunk.alive):",
        "for array_id in chunk.left:",
        ("tests/unit/guards/stop_run/test_run.py",),
    ),
    Mutant(
        "until Batch has shown how many children have failed, none of them counts as stopped",
        "guards/stop_run/tally.py",
        "stopped = min(gone, failed or 0)",
        "stopped = gone if failed is None else min(gone, failed)",
        ("tests/unit/guards/stop_run/test_run.py",),
    ),
    Mutant(
        "children that were left at work and wait again are counted as cancelled",
        "guards/stop_run/tally.py",
        "again = min(sums[_Fate.LEFT], max(0, (failed or 0) - gone))",
        "again = 0",
        ("tests/unit/guards/stop_run/test_run.py",),
    ),
    Mutant(
        "a queue that cannot be looked at keeps no other from its turn",
        "guards/queue_updates.py",
        "            except ITEM_ERRORS as error:  # The sweep raises it",
        "            except RecursionError as error:  # The sweep raises it",
        ("tests/unit/guards/test_queue_updates.py",),
    ),
    Mutant(
        "a queue that cannot be looked at for long is asked about more rarely",
        "guards/queue_updates.py",
        "changed = updates.having(queue, self._later(update, update.why))",
        "changed = updates",
        ("tests/unit/guards/test_queue_updates.py",),
    ),
    Mutant(
        "that time passes for one guard keeps nothing else waiting",
        "guards/workflow.py",
        "return [*moved.failed.values(), *told.failed.values(), *runs.failed.values()]",
        "runs.raise_failed()\n        return []",
        ("tests/integration/test_sweep.py",),
    ),
    Mutant(
        "a guard that cannot hear keeps no other from hearing",
        "guards/workflow.py",
        "            failed += written.failed.values()\n",
        "            written.raise_failed()\n",
        ("tests/integration/test_sweep.py",),
    ),
)
