# Each target says what it does: `make help`.
# Variables: ENV (an inventory: sandbox, production), HOST (one of it), PART (of upgrade), PYTHON, VENV, FAULT and SEED (of chaos), EVENTS and RATE (of
# release-drill), and the SANDBOX_* of inventory/sandbox.
VENV ?= .venv
ENV ?= sandbox
SANDBOX = $(or $(SANDBOX_NAME),steadfast)
export VENV PYTHON FAULT SEED EVENTS RATE
export PATH := $(abspath $(VENV))/bin:$(PATH)
# Ansible wants UTF-8, whatever the machine speaks.
export LC_ALL := C.UTF-8
export ANSIBLE_DISPLAY_SKIPPED_HOSTS := false
# Output as it is, in no frames of 80 columns.
export MOLECULE_COMMAND_BORDERS := false

PLAYBOOK = ansible-playbook --inventory inventory/$(ENV)
SANDBOX_PLAYBOOK = ansible-playbook --inventory inventory/sandbox
WHICH = $(if $(TASK),--extra-vars "task_operations_task_ids='$(TASK)'") $(if $(STATUS),--extra-vars task_operations_status=$(STATUS)) \
  $(if $(OLDER_THAN),--extra-vars task_operations_older_than=$(OLDER_THAN)) $(if $(LIMIT),--extra-vars task_operations_limit=$(LIMIT))
# Where there is no terminal, as with `make psql <question.sql`, the container has none either.
NO_TTY = \$$(test -t 0 || echo --no-TTY)
LOCK = uv pip compile --quiet --generate-hashes --no-emit-index-url --no-header --no-annotate $(if $(UPGRADE),--upgrade)
.DEFAULT_GOAL := help
.PHONY: help set-up up down check test chaos bench scenario release-drill provision teardown deploy roll-back upgrade releases status drift logs shell psql \
  back-up rehearse-restore tasks cancel-tasks retry-tasks replay-tasks smoke-test verify lock format clean

help: ## Show this
	@sed -nE 's/^([a-z][a-z-]*):.*## (.*)/\1|\2/p' $(MAKEFILE_LIST) | while IFS='|' read -r name words; do printf '  make %-17s %s\n' "$$name" "$$words"; done

set-up: ## Install the tool set into .venv (every other target does so by itself)
	@.ci/set-up

up: set-up ## Start a sandbox on this machine, deploy into it with site.yml, and print its addresses
	@$(SANDBOX_PLAYBOOK) molecule/sandbox/create.yml
	@$(SANDBOX_PLAYBOOK) site.yml
	@cat .sandbox/$(SANDBOX)/addresses.txt

down: set-up ## Remove the sandbox and everything that it made; .venv and installed packages stay
	@$(SANDBOX_PLAYBOOK) molecule/sandbox/destroy.yml molecule/sandbox/clean-up.yml

check: set-up ## Check all that needs no host: linters, types, layers, syntax, unit tests (about a minute)
	@.ci/check

test: set-up ## Test everything: check, integration, every role on a real host, AWS, the page in a browser (about 40 minutes)
	@.ci/set-up --browser
	@.ci/test

chaos: set-up ## Break every part under load and count what is lost (about an hour); one row alone: make chaos FAULT=redis_full
	@.ci/chaos

release-drill: set-up ## Deploy, roll back, fail and reboot under load, and count what failed (20 to 35 minutes); EVENTS=deploy-1,roll-back shortens it
	@.ci/release-drill

bench: set-up ## Measure against the peers of tests/bench (about 25 minutes); ROUNDS, ROWS and ONLY=post,get,… shorten it
	@.ci/set-up --bench
	@$(SANDBOX_PLAYBOOK) molecule/sandbox/provide-engine.yml
	@python -m tests.bench

scenario: set-up ## Test one Molecule scenario: make scenario NAME=docker_engine; NAME=aws goes from an empty account to alarms and back
	@test -f molecule/$(NAME)/molecule.yml || { echo "Name one of: $(notdir $(patsubst %/molecule.yml,%,$(wildcard molecule/*/molecule.yml)))"; exit 1; }
	@.ci/set-up --browser
	@molecule test --scenario-name $(NAME)

provision: set-up ## Make or mend the environment in AWS: make provision ENV=production
	@$(PLAYBOOK) playbooks/provision-aws.yml

teardown: set-up ## Remove the environment from AWS, after asking for its name: make teardown ENV=production
	@$(PLAYBOOK) playbooks/teardown-aws.yml

deploy: set-up ## Deploy the application and nothing below it: make deploy ENV=production
	@$(PLAYBOOK) playbooks/deploy-app.yml

roll-back: set-up ## Go back to the newest other release that was good: make roll-back ENV=production, or to RELEASE=<release>
	@$(PLAYBOOK) $(if $(RELEASE),--extra-vars app_stack_roll_back_to=$(RELEASE)) playbooks/roll-back-app.yml

upgrade: set-up ## Replace nginx, Redis or the engine by what is newest: make upgrade ENV=production PART=nginx (or redis, engine)
	@test -f playbooks/upgrade-$(PART).yml || { echo "Name one: PART=nginx, PART=redis, PART=engine"; exit 1; }
	@$(PLAYBOOK) playbooks/upgrade-$(PART).yml

releases: set-up ## List the releases of a host, and which of them can be gone back to: make releases ENV=production
	@$(PLAYBOOK) playbooks/list-releases.yml

status: set-up ## Show containers and readiness: make status ENV=production
	@$(PLAYBOOK) playbooks/show-status.yml

drift: set-up ## Say what differs from what was deployed, changing nothing: make drift ENV=production
	@ANSIBLE_DISPLAY_OK_HOSTS=false $(PLAYBOOK) --check --diff playbooks/check-drift.yml

# Compose writes a terminal's signs before each line, whatever it is told.
logs: set-up ## Follow what the containers write: make logs ENV=production SERVICE=worker TASK=<id>
	@.ci/on-host $(ENV) '$(HOST)' "docker compose logs --follow --no-color --tail $(if $(TASK),all,50) \
	  \$$(docker compose config --services | grep -E '^($(or $(SERVICE),.+))(_|\$$)') \
	  | sed --unbuffered -n 's/^[^a-z]*\(.*$(TASK)\)/\1/p'"

shell: set-up ## Open a Python prompt beside the live release, with its code, settings and database: make shell ENV=production
	@.ci/on-host $(ENV) '$(HOST)' "docker compose --progress=quiet run --rm $(NO_TTY) shell"

psql: set-up ## Look into the database as somebody who changes nothing: make psql ENV=production
	@.ci/on-host $(ENV) '$(HOST)' "docker compose --progress=quiet run --rm $(NO_TTY) --env AS_READER=yes database-client psql"

back-up: set-up ## Back the database up now: make back-up ENV=production
	@$(PLAYBOOK) playbooks/back-up-data.yml

rehearse-restore: set-up ## Prove that the newest backup can be restored: make rehearse-restore ENV=production
	@$(PLAYBOOK) playbooks/rehearse-restore.yml

tasks: set-up ## Count and list tasks: make tasks ENV=production STATUS=failed OLDER_THAN=2h LIMIT=20
	@$(PLAYBOOK) $(WHICH) playbooks/list-tasks.yml

cancel-tasks: set-up ## Call off what is queued or retrying: make cancel-tasks TASK=<id>, or STATUS=queued OLDER_THAN=2h
	@$(PLAYBOOK) $(WHICH) playbooks/cancel-tasks.yml

retry-tasks: set-up ## Try now what waits for its next attempt: make retry-tasks TASK=<id>, or STATUS=retrying
	@$(PLAYBOOK) $(WHICH) playbooks/retry-tasks.yml

replay-tasks: set-up ## Begin anew what failed or was cancelled: make replay-tasks TASK=<id>, or STATUS=failed OLDER_THAN=2h
	@$(PLAYBOOK) $(WHICH) playbooks/replay-tasks.yml

smoke-test: set-up ## Send one task through the front door: make smoke-test ENV=production
	@$(PLAYBOOK) playbooks/smoke-test.yml

verify: set-up ## Look whether a host is as it should be, changing nothing: make verify ENV=production
	@pytest tests/host --hosts=ansible://stack --ansible-inventory=inventory/$(ENV) --sudo \
	  $(if $(filter sandbox,$(ENV)),--ssh-config=.sandbox/$(SANDBOX)/ssh_config)

lock: set-up ## Bring the three locks in line with pyproject.toml; UPGRADE=1 takes the newest versions
	@$(LOCK) --universal --python-version 3.11 --group controller --group test pyproject.toml --output-file .config/requirements.txt
	@$(LOCK) --python-platform linux --python-version 3.13 --constraints .config/requirements.txt pyproject.toml --output-file app/requirements.txt
	@$(LOCK) --python-platform linux --python-version 3.13 --constraints .config/requirements.txt --group sandbox \
	  --output-file molecule/sandbox/services/requirements.txt

format: set-up ## Format the Python files and mend what ruff can
	@ruff check --fix .
	@ruff format .

clean: down ## Remove the tool set, caches and the base image's archive, too
	@rm -rf $(VENV) .sandbox .ansible .mypy_cache .pytest_cache .ruff_cache .import_linter_cache reports
