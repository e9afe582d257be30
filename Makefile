# Every target installs what it needs, once. git, make and Python 3.13 are enough; the targets that
# need more say so in `make help`.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?= python3
STACK ?= batch-watchdog

venv := .venv/.installed
sam_venv := .venv-sam/.installed
checkov_venv := .venv-checkov/.installed
runtime_client := .build/runtime-client/.installed
ministack := .build/ministack/.installed
fakecloud := .build/fakecloud/bin/fakecloud
selenium := .build/selenium/.installed
built := .build/lambda/template.yaml
dynamodb_local := .build/dynamodb-local/.installed
event_ruler := .build/event-ruler/.installed

# `sam build` needs the Python version of the functions, which is that of .venv. It also needs a
# region, although it does not call AWS.
sam := PATH="$$PWD/.venv/bin:$$PATH" SAM_CLI_TELEMETRY=0 .venv-sam/bin/python -m samcli
offline := AWS_DEFAULT_REGION=us-east-1

# By default, checkov downloads guidelines from its vendor, and checks for a newer version.
checkov := CKV_SKIP_PACKAGE_UPDATE_CHECK=true .venv-checkov/bin/python -m checkov.main \
	--skip-download --framework cloudformation --compact --quiet

templates := template.yaml template-us-east-1.yaml
# Regions that differ: one or more of each partition, opt-in regions, the newest.
regions := us-east-1 eu-central-1 ap-northeast-3 me-central-1 ap-southeast-5 us-gov-west-1 cn-north-1

# Only LANGUAGE on the command line counts: the environment may set it for another purpose.
demo: $(venv) ## The watchdog at work on a simulated AWS Batch: no account, no Docker. [LANGUAGE=ja]
	@.venv/bin/python -m local demo $(if $(filter command,$(origin LANGUAGE)),--language "$(LANGUAGE)")

console: $(venv) ## The operator's page in your browser, over a simulated AWS Batch: [PORT=8080] [SPEED=20]
	@.venv/bin/python -m local console $${PORT:+--port "$$PORT"} $${SPEED:+--speed "$$SPEED"}

test: $(venv) ## All tests but those that take or need more: see test-long, -dynamodb, -patterns, -runtime, -ministack, -fakecloud, -scale.
	.venv/bin/python -m pytest -n auto \
		-m 'not long and not runtime and not dynamodb and not patterns and not scale and not browser and not sam_local and not ministack and not fakecloud'

test-long: $(venv) ## Random logs, crash points, whole days of notices. Six minutes on two cores.
	.venv/bin/python -m pytest -n auto -m long

check: $(venv) $(sam_venv) $(checkov_venv) ## Format, lint, types, templates.
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy
	.venv/bin/cfn-lint --append-rules cfn_lint_serverless.rules --regions $(regions) -- $(templates)
	$(checkov) --file $(templates)
	$(offline) $(sam) validate --lint

format: $(venv) ## Format the code, and mend what ruff can.
	.venv/bin/ruff format .
	.venv/bin/ruff check --fix .

# Paths may contain spaces, so the recipes below read these variables from the environment.

replay: $(venv) ## Replay a log, a folder of logs or stdin: EVENTS=log.jsonl|folder|- [POLICY=] [WORLD=] [UNTIL=] [OUT=] [REPORT=]
	@test -n "$$EVENTS" || { echo 'usage: make replay EVENTS=log.jsonl [POLICY=policy.toml]' \
		'[WORLD=world.json] [UNTIL=2026-01-01T12:00:00Z] [OUT=out.jsonl] [REPORT=report.html]' >&2; exit 2; }
	@.venv/bin/python -m local replay "$$EVENTS" $${POLICY:+--policy "$$POLICY"} \
		$${WORLD:+--world "$$WORLD"} $${UNTIL:+--until "$$UNTIL"} $${OUT:+--out "$$OUT"} \
		$${REPORT:+--report "$$REPORT"}

gallery: $(venv) ## Write docs/notices.md: every notice in both languages, from real runs.
	@.venv/bin/python -m local gallery

suggest: $(venv) ## A policy from your own history: EVENTS=log.jsonl|folder|- [ALLOW=0.001] > policy.toml
	@test -n "$$EVENTS" || { echo 'usage: make suggest EVENTS=log.jsonl [ALLOW=0.001]' \
		'> policy.toml' >&2; exit 2; }
	@.venv/bin/python -m local suggest $${ALLOW:+--allow "$$ALLOW"} -- "$$EVENTS"

policy-check: $(venv) ## Check a policy before it goes live: FILE=policy.toml
	@test -n "$$FILE" || { echo 'usage: make policy-check FILE=policy.toml' >&2; exit 2; }
	@.venv/bin/python -m local policy-check "$$FILE"

# AWS_REGION and AWS_PROFILE select the region and the account, as for the AWS CLI.

policy-push: policy-check ## Check a policy, and put it in force: FILE=policy.toml [STACK=batch-watchdog]
	@.venv/bin/python -m local policy-push --stack "$(STACK)" -- "$$FILE"

policy-show: $(venv) ## Print the policy in force: [STACK=batch-watchdog]
	@.venv/bin/python -m local policy-show --stack "$(STACK)"

policy-undo: $(venv) ## Put the policy before it in force again: [STACK=batch-watchdog] [VERSION=]
	@.venv/bin/python -m local policy-undo --stack "$(STACK)" $${VERSION:+--version "$$VERSION"}

pull-events: $(venv) ## Bring the events that the stack has kept: [SINCE=30d] [OUT=log.jsonl] [STACK=batch-watchdog]
	@.venv/bin/python -m local pull-events --stack "$(STACK)" --since "$${SINCE:-30d}" \
		--out "$${OUT:-log.jsonl}"

build: $(venv) $(sam_venv) ## Build what `sam deploy` uploads: [ARCHITECTURE=x86_64]
	$(offline) $(sam) build $(overrides)
	@.venv/bin/python -m local finish-build

deploy-check: $(venv) ## What stands in the way of a deployment, and whom to ask; changes nothing: [STACK=batch-watchdog]
	@.venv/bin/python -m local deploy-check --stack "$(STACK)"

# Only the build gets the processor. The built template has no parameter for it, so a value that an
# earlier deployment has saved cannot differ from the build.
deploy: build ## Deploy to your AWS account: [STACK=] [ARCHITECTURE=x86_64] [EMAIL=] [SOFT=] [HARD=] [CHAT=yes]
	@SAM_CLI_TELEMETRY=0 .venv/bin/python -m local deploy --stack "$(STACK)"

deploy-billing: $(venv) ## Alarms on the charges, in us-east-1, of a stack elsewhere: [STACK=] [SOFT=] [HARD=]
	@.venv/bin/python -m local deploy-billing --stack "$(STACK)"

smoke: $(venv) ## Does a deployed stack do its work? Follows a made-up event: [STACK=batch-watchdog]
	@.venv/bin/python -m local smoke --stack "$(STACK)"

undeploy: $(venv) $(sam_venv) ## Delete the stack, and say what stays: [STACK=batch-watchdog]
	@echo 'This deletes the stack $(STACK). What stays:'
	@echo '  its table, as it is the record of every decision;'
	@echo '  the parameter /batch-watchdog/$(STACK)/policy, as it is yours: a new stack of that name reads it at once;'
	@echo '  the stack of its billing alarms in us-east-1, if there is one: delete it by hand.'
	@echo 'Queues that a guard has closed stay closed: release all guards first.'
	@echo 'The kept events are deleted: make pull-events saves them.'
	$(sam) delete --stack-name "$(STACK)" $${AWS_REGION:+--region "$$AWS_REGION"}

overrides = $(if $(ARCHITECTURE),--parameter-overrides Architecture=$(ARCHITECTURE))

invoke: $(venv) $(built) $(runtime_client) ## One built function on one event: FUNCTION=job_events EVENT=events/x.json
	@test -n "$$FUNCTION" && test -n "$$EVENT" || { \
		echo 'usage: make invoke FUNCTION=job_events EVENT=events/x.json' >&2; exit 2; }
	@.venv/bin/python -m local.commands.runtime invoke "$$FUNCTION" "$$EVENT"

local-aws: $(venv) $(built) ## AWS for `sam local invoke`, on this machine: [ADDRESS=172.17.0.1] [PORT=5000]
	@.venv/bin/python -m local.commands.runtime serve $${ADDRESS:+--address "$$ADDRESS"} \
		$${PORT:+--port "$$PORT"}

test-runtime: $(venv) $(built) $(runtime_client) ## Every sample in events/ through Lambda's own runtime.
	.venv/bin/python -m pytest -m runtime tests/runtime

test-sam-local: $(venv) $(built) $(runtime_client) ## The same by `sam local invoke`. Needs Docker, or root with docker.io and busybox-static.
	.venv/bin/python -m pytest -ra -m sam_local tests/runtime

test-ministack: $(venv) $(built) $(ministack) ## The built stack at work in another AWS emulator than moto. A minute.
	.venv/bin/python -m pytest -m ministack tests/emulators

test-fakecloud: $(venv) $(built) $(ministack) $(fakecloud) ## Jobs that really run, in a third emulator. Needs Rust, 20 minutes once, and Docker as test-sam-local.
	.venv/bin/python -m pytest -ra -m fakecloud tests/emulators

test-browser: $(venv) $(selenium) ## The operator's page in headless Chromium. Needs Chromium and its driver.
	PYTHONPATH=.build/selenium .venv/bin/python -m pytest -m browser --noconftest \
		--override-ini addopts= --import-mode=importlib -ra tests/browser

pictures: $(venv) $(selenium) ## The README's pictures of the page, taken anew. Needs Chromium and its driver.
	PYTHONPATH=.build/selenium:layers/watchdog .venv/bin/python -m local.console.pictures

test-dynamodb: $(venv) $(dynamodb_local) ## The table's tests, and histories, on AWS's own DynamoDB Local. Needs Java 17 and Maven.
	.venv/bin/python -m pytest -m dynamodb tests/contract tests/unit \
		tests/simulation/test_on_dynamodb.py

test-scale: $(venv) ## 60,000 and 200,000 waiting jobs, each call of AWS taking time; 20,000 limits in a minute [LIMITS=]. Seven minutes.
	.venv/bin/python -m pytest -n auto -m scale tests/integration

test-patterns: $(venv) $(event_ruler) ## Event patterns against AWS's own matcher. Needs Java 17 and Maven.
	.venv/bin/python -m pytest -m patterns tests/patterns

simulate: $(venv) ## Histories full of faults: [SEEDS=300] [FROM=1] [JOBS=all cores]
	@.venv/bin/python -m tests.simulation $${SEEDS:+--seeds "$$SEEDS"} $${FROM:+--from "$$FROM"} \
		$${JOBS:+--jobs "$$JOBS"}

mutate: $(venv) ## Break each rule on purpose: the simulation must notice, or tests. [ONLY='the brake']
	@.venv/bin/python -m tests.mutation $${ONLY:+--only "$$ONLY"}

bench: $(venv) $(if $(PART),$(if $(filter processes,$(PART)),$(built)),$(built)) ## What it costs, against its goals: [PART='batches sweeps'] [JSON=figures.json]
	@.venv/bin/python -m tests.benchmarks $$PART $${JSON:+--json "$$JSON"}

counted := tests/benchmarks/counted.json

test-costs: $(venv) ## What can be counted (units, invocations, calls) is not more than it was, by 3 %.
	@.venv/bin/python -m tests.benchmarks calls storage --against $(counted)

count: $(venv) ## Count it anew, for test-costs: after a change that is worth it.
	@.venv/bin/python -m tests.benchmarks calls storage --json $(counted)

pin: $(venv) ## Renew the pinned versions in requirements*.txt.
	.venv/bin/python -m pip install --quiet uv
	for file in layers/watchdog/requirements requirements-dev requirements-sam requirements-checkov \
			requirements-runtime requirements-browser requirements-ministack; do \
		.venv/bin/uv pip compile --quiet --upgrade --universal --python-version 3.13 --generate-hashes \
			--no-emit-index-url --no-header --output-file $$file.txt $$file.in || exit; \
	done

claims: $(venv) ## docs/aws-claims.md of its table (tests/template/claims.toml).
	@.venv/bin/python -m tests.template.claims

released: $(venv) ## Write down what an update of this version must not replace, when it is released.
	@.venv/bin/python -m tests.template.released

clean: ## Forget all that was set up or built.
	rm -rf .venv .venv-sam .venv-checkov .build .aws-sam .mypy_cache .pytest_cache .ruff_cache .hypothesis

help: ## What can be made.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo console test check format replay gallery suggest policy-check policy-push policy-show policy-undo pull-events build deploy-check deploy deploy-billing smoke undeploy invoke local-aws \
	test-long test-runtime test-sam-local test-ministack test-fakecloud test-browser pictures test-dynamodb test-scale test-patterns simulate mutate bench test-costs count pin claims released clean help

# ---- Setting up -----------------------------------------------------------------------------

# $(1): the folder of a new virtual environment
define create_venv
@for python in "$(PYTHON)" python3.13 "$${PYENV_ROOT:-$$HOME/.pyenv}"/versions/3.13*/bin/python \
		"$$(uv python find 3.13 2>/dev/null)"; do \
	version=$$("$$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null); \
	if test "$$version" = 3.13; then \
		echo "Setting up $(1) (once; takes about half a minute) ..." >&2; \
		exec "$$python" -m venv $(1); \
	fi; \
done; \
echo 'Python 3.13 is needed, the version that the functions run on in Lambda, and was not found.' \
	'Install it (pyenv install 3.13, or uv python install 3.13, or the package python3.13-venv' \
	'of your system) and call make again, or say where it is: make PYTHON=/path/to/python3.13' >&2; \
exit 1
endef

pip_install = -m pip install --quiet --disable-pip-version-check --require-hashes

$(venv): requirements-dev.txt
	$(call create_venv,.venv)
	@.venv/bin/python $(pip_install) --requirement $<
	@touch $@

$(sam_venv): requirements-sam.txt
	$(call create_venv,.venv-sam)
	@.venv-sam/bin/python $(pip_install) --requirement $<
	@touch $@

$(checkov_venv): requirements-checkov.txt
	$(call create_venv,.venv-checkov)
	@.venv-checkov/bin/python $(pip_install) --requirement $<
	@touch $@

# Packages that must not be in .venv.
$(runtime_client): requirements-runtime.txt
$(ministack): requirements-ministack.txt
$(selenium): requirements-browser.txt
$(runtime_client) $(ministack) $(selenium): $(venv)
	@rm -rf $(@D)
	@.venv/bin/python $(pip_install) --target $(@D) --requirement $(filter %.txt,$^)
	@touch $@

# Java libraries, by their names in Maven. Each of the two has its own folder, because they need
# different versions of the same dependencies.

define fetch_jars
@for tool in 'java' 'javac' 'mvn'; do \
	$$tool -version >/dev/null 2>&1 || { \
		echo "A JDK of version 17 or later and Maven are needed for this, and $$tool was not found." >&2; \
		exit 1; \
	}; \
done
@rm -rf $(@D)
@echo 'Fetching $(notdir $(@D)) (once) ...' >&2
@mvn --quiet --batch-mode --file $< dependency:copy-dependencies -DoutputDirectory="$$PWD/$(@D)"
@touch $@
endef

$(dynamodb_local): tests/contract/dynamodb-local.xml
	$(fetch_jars)

$(event_ruler): tests/patterns/event-ruler.xml
	$(fetch_jars)

# Without optimisation, which would take much longer and is not needed here.
$(fakecloud):
	@command -v cargo >/dev/null || { echo 'Rust is needed for this, and cargo was not found.' >&2; exit 1; }
	@echo 'Building fakecloud (once; takes about 20 minutes on two cores) ...' >&2
	@CARGO_PROFILE_DEV_DEBUG=0 CARGO_INCREMENTAL=0 cargo install --quiet --debug --locked \
		--root .build/fakecloud --target-dir .build/fakecloud/target --version 0.51.0 fakecloud
	@rm -rf .build/fakecloud/target

# Built for this machine's processor, because it is run here; `build` builds for Lambda's.
$(built): template.yaml $(shell find functions layers -type f ! -name '*.pyc') $(venv) $(sam_venv)
	$(offline) $(sam) build --build-dir $(@D) \
		--parameter-overrides Architecture=$$(uname -m | sed 's/aarch64/arm64/')
	@.venv/bin/python -m local finish-build $(@D)
