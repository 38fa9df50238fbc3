# waycue: one word for each thing to do here. `make` alone lists them.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON_IN_VENV := .venv/bin/python
# Every package sets it, too (shared/privacy.py); this is for what is typed here by hand.
export ORT_DISABLE_TELEMETRY := 1

.PHONY: help setup demo loop test check bench soak starter fmt clean

help: ## list these targets
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-9s %s\n", $$1, $$2}'

setup: ## system packages (with apt where allowed) and .venv; safe to repeat
	@scripts/setup

demo: setup ## the whole loop on a rendered walk; VIDEO=path runs its first half on your own video (EYES=package.tgz: offline)
	@$(PYTHON_IN_VENV) -m scripts.demo$(if $(VIDEO), --video "$(VIDEO)")$(if $(EYES), --eyes "$(EYES)")

loop: setup ## ten nights of three wearers on drawn walks, some bad on purpose; writes build/loop/report.json
	@$(PYTHON_IN_VENV) -m scripts.loop$(if $(ARGS), $(ARGS))

test: setup ## lint, types, import contracts and every test; ARGS="tests/link -x" for some tests
	@scripts/check$(if $(ARGS),, quick)
	@scripts/test$(if $(ARGS), $(ARGS))

check: setup ## ruff, mypy --strict, import-linter, shellcheck where installed
	@scripts/check

bench: setup ## the benchmarks; NAME=x runs benchmarks/x.py alone
	@scripts/bench$(if $(NAME), $(NAME))

soak: setup ## faults, kills, power cuts, fuzzers and long walks for an hour and a half; writes build/soak/report.json
	@scripts/soak$(if $(ARGS), $(ARGS))

starter: setup ## train the starter model from nothing on rendered walks and write its checkpoint
	@$(PYTHON_IN_VENV) -m server.learn.starter$(if $(ARGS), $(ARGS))

fmt: setup ## format the code and mend what ruff can mend
	@.venv/bin/ruff check --fix --quiet . ; .venv/bin/ruff format --quiet .

clean: ## remove build/ and caches, but not .venv
	@rm -rf build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
