# Clawkeep's own commands. `make` alone explains them.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

SCENARIO ?= tier1_personal
PATH := $(CURDIR)/.venv/bin:$(PATH)
export PATH
export PYTHONUNBUFFERED := 1

# The demo's lab stays up for a look; scripts/lab-test keeps its own in .lab/test.
demo demo-down: export CLAWKEEP_LAB_HOME := $(CURDIR)/.lab/demo

.PHONY: help
help: ## Show this page
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: setup
setup: ## Install what the hostless checks need (.venv)
	@scripts/setup

.PHONY: setup-lab
setup-lab: ## Install what the safe lab needs too (QEMU, nmap ...; root)
	@scripts/setup --lab

.PHONY: check
check: setup ## Lint and unit tests; no host, no root, a minute or two
	@$(MAKE) --no-print-directory --jobs=2 --output-sync=target lint unit

.PHONY: lint
lint:
	ruff format --check .
	ruff check .
	mypy
	lint-imports --no-cache --no-logo
	yamllint --strict .
	ansible-lint --offline --strict

.PHONY: unit
unit:
	pytest -q -n auto --dist loadfile

.PHONY: mutate
mutate: setup ## Which bugs would no test notice? All is hours; MODULE=clawkeep_host/kill.py SAMPLE=50 is minutes
	@python -c 'import mutmut' 2>/dev/null || pip install -qq --disable-pip-version-check -e '.[mutate]'
	@python scripts/mutate.py $(if $(SAMPLE),--sample $(SAMPLE)) $(if $(FRESH),--fresh) $(MODULE)

.PHONY: kernel
kernel: setup-lab ## Evaluator and probes against this machine's kernel, in namespaces of their own; root, a minute
	pytest -q tests/kernel -m kernel

.PHONY: agent-bench
agent-bench: setup-lab ## Gateways on this machine, good and broken, in namespaces of their own; root, five minutes, no host
	pytest -q tests/agent_bench -m bench

.PHONY: browser
browser: setup-lab ## The HTML report in headless Chromium, hostile text and all; a minute, no host
	pytest -q tests/browser -m browser

.PHONY: bench
bench: setup ## Every benchmark that can be run here, as one page; minutes. SCENARIO=climb also measures a lab that is up
	@scripts/bench

.PHONY: demo
demo: setup-lab ## Boot the safe lab, converge tier 1, verify it, and leave the host up for a look
	scripts/demo $(SCENARIO)

.PHONY: demo-down
demo-down: ## Take the demo's lab down
	clawkeep lab down $(SCENARIO)

.PHONY: test
test: setup-lab check ## Prove the whole thing: checks, Molecule, a representative sabotage run, the drills
	scripts/lab-test representative

.PHONY: test-all
test-all: setup-lab check ## As test, with every sabotage live and the schedule on a control node; hours
	scripts/lab-test all

.PHONY: clean
clean: ## Take every lab of this checkout down and remove what was built here
	scripts/clean
