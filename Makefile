# Every task of the project, one target each. A fresh clone needs Python 3.11+ and git.
PYTHON ?= python3
VENV := .venv
OLDEST := .venv-oldest
BIN := $(VENV)/bin
DEMO_ARGS ?=
TEST_ARGS ?=
# A file of tests at a time to each: most of what tests take is waiting. `make test TEST_PROCESSES=0` takes one after the other.
TEST_PROCESSES ?= auto
PYTEST := python -m pytest --numprocesses=$(TEST_PROCESSES) --maxprocesses=4 --dist=loadfile
BENCH_ARGS ?=
COST_ARGS ?=
# Those of the OpenAI and Anthropic SDKs whose outcome may depend on the SDKs' version.
LLM_TESTS := tests/llm/test_sdks.py tests/llm/test_leaving.py
# What takes files apart by msgspec, whose errors and structs have changed since its oldest version.
READING_TESTS := tests/reading/test_lines.py tests/reading/test_reading.py tests/reading/test_in_parts.py tests/compare/test_exports_in_folders.py
SOAK_ARGS ?=
SUITES ?=
MATRIX ?=

.PHONY: demo test test-newest test-oldest test-backends check lint format backends others suites test-matrix bench bench-cost bench-rivals bench-git bench-llm bench-reading bench-whatif bench-verdict bench-compare soak soak-kills soak-memory soak-outages soak-scale soak-sizing soak-full-disk soak-podman compose-by-podman clean help

help: ## List the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-16s %s\n", $$1, $$2}'

demo: $(VENV)/.demo ## Run the reference orchestrator and report where its time went
	@$(BIN)/otel-orchestrator demo $(DEMO_ARGS)

test: test-oldest test-newest test-backends ## Run the tests, on the newest libraries and on the oldest supported ones

test-newest: $(VENV)/.dev ## All tests but those of the backends
	@$(BIN)/$(PYTEST) --ignore=tests/backends $(TEST_ARGS)

# Those of them that need a program skip without it, unless a skip is to be a failure.
test-backends: $(VENV)/.dev $(if $(OTEL_ORCHESTRATOR_REQUIRE_BACKENDS),backends) ## With the real Collector, Jaeger and Prometheus, once `make backends` has built them
	@$(BIN)/$(PYTEST) tests/backends $(TEST_ARGS)

test-oldest: $(OLDEST)/.ready ## What depends on other libraries, on their oldest supported versions
	@$(OLDEST)/bin/$(PYTEST) tests/langgraph tests/langchain tests/sdk tests/delivery/test_run_file.py $(READING_TESTS) $(LLM_TESTS) $(TEST_ARGS)
	@PYTHONPATH=$(OLDEST)/previous $(OLDEST)/bin/$(PYTEST) $(LLM_TESTS) $(TEST_ARGS)

check: lint test ## Format, lint, types, import rules, tests

lint: $(VENV)/.dev ## Format, lint, types and import rules only
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: $(VENV)/.dev ## Format the code and mend what the linter can
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

backends: $(VENV)/.dev ## Find or build the real Collector, Jaeger and Prometheus (once: about 25 CPU-minutes)
	@$(BIN)/python collector/build/backends.py

others: $(VENV)/.dev ## Other instrumentations beside ours, each in a program of its own (3 minutes)
	@$(BIN)/python -m tests.llm.beside

test-matrix: $(VENV)/.dev ## Each library's supported versions beside the newest of the others (40 minutes)
	@$(BIN)/python -m tests.matrix $(MATRIX)

suites: $(VENV)/.dev ## LangGraph's and LangChain's own tests, bare and with instrument() active (10 minutes)
	@$(BIN)/python -m tests.suites $(SUITES)

bench: $(VENV)/.dev ## Added time per node, against untraced and hand-placed spans
	@$(BIN)/python benchmarks/overhead.py

bench-cost: $(VENV)/.dev bench bench-llm bench-git ## What tracing costs in all: also per second, at exit, not sampled, endpoint dead (25 minutes)
	@$(BIN)/python benchmarks/cost.py $(COST_ARGS)

bench-rivals: $(VENV)/.dev ## Added time per node, LLM call and token, against OpenInference, OpenLLMetry, LangSmith ... (10 minutes)
	@$(BIN)/python benchmarks/rivals.py $(BENCH_ARGS)

bench-git: $(VENV)/.dev ## Added time per git process: our hooks, and git's own events
	@$(BIN)/python benchmarks/git_overhead.py $(BENCH_ARGS)

bench-llm: $(VENV)/.dev ## Added time per streamed token, per LLM call and per HTTP attempt
	@$(BIN)/python benchmarks/llm.py $(BENCH_ARGS)

bench-reading: $(VENV)/.dev ## Read, account for and report 10 000 to 1 000 000 spans (5 minutes)
	@$(BIN)/python benchmarks/reading.py $(BENCH_ARGS)

bench-whatif: $(VENV)/.dev ## What-if estimates against runs that made the change (35 minutes)
	@$(BIN)/python benchmarks/whatif.py $(BENCH_ARGS)

bench-verdict: $(VENV)/.dev ## Slow one thing at a time: is that what the verdict names? (3 minutes)
	@$(BIN)/python benchmarks/verdict.py

bench-compare: $(VENV)/.dev ## Is what compare says right: false alarms, what it finds, what it blames? (25 minutes)
	@$(BIN)/python benchmarks/compare.py $(BENCH_ARGS)

soak-kills: $(VENV)/.dev ## A program killed 200 times, whatever the endpoint does: is anything lost? (15 minutes)
	@$(BIN)/python -m tests.kills.trials $(SOAK_ARGS)

soak-memory: $(VENV)/.dev ## 20 000 runs that end in every way, the endpoint dead: is memory flat? (1 hour)
	@$(BIN)/python benchmarks/memory.py $(SOAK_ARGS)

soak-outages: $(VENV)/.dev ## Each part of the stack killed for a minute, under load (6 minutes)
	@$(BIN)/python -m tests.backends.outages

soak-scale: $(VENV)/.dev ## Each part of the scale profile killed under load; needs Java 17 and Maven (8 minutes)
	@$(BIN)/python -m tests.backends.scale $(SOAK_ARGS)

soak-sizing: $(VENV)/.dev ## What the backends take, and the room that spans need; Java 17, Maven (6 minutes)
	@$(BIN)/python -m tests.backends.sizing $(SOAK_ARGS)

soak-full-disk: $(VENV)/.dev ## The disk of each store filled under load; needs root, Java 17, Maven (8 minutes)
	@$(BIN)/python -m tests.backends.full_disk $(SOAK_ARGS)

compose-by-podman: $(VENV)/.podman ## docker-compose.yml brought up by podman, and each part killed (1 minute)
	@PATH="$(CURDIR)/$(BIN):$$PATH" OTEL_ORCHESTRATOR_PODMAN=1 $(BIN)/python -m pytest tests/backends/test_compose_by_podman.py

soak-podman: compose-by-podman ## The same, then its scale profile; needs Java 17 and Maven (4 minutes)
	@PATH="$(CURDIR)/$(BIN):$$PATH" OTEL_ORCHESTRATOR_PODMAN=scale $(BIN)/python -m pytest tests/backends/test_scale_by_podman.py

soak: bench-verdict bench-whatif soak-kills soak-memory soak-outages soak-scale soak-sizing soak-full-disk soak-podman ## The long trials, one after the other

clean: ## Remove what the other targets made in this folder
	rm -rf $(VENV) $(OLDEST) .otel-orchestrator .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache

%/.created:
	@$(PYTHON) -c 'import sys; sys.exit("otel-orchestrator needs Python 3.11 or newer; this is " + sys.version.split()[0] + ". Type: make PYTHON=python3.11 ...") if sys.version_info < (3, 11) else None'
	@$(PYTHON) -m venv $*
	@$*/bin/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	@touch $@

$(VENV)/.demo: $(VENV)/.created pyproject.toml
	@echo "Installing otel-orchestrator[demo] into $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[demo]'
	@touch $@

$(VENV)/.dev: $(VENV)/.created pyproject.toml
	@echo "Installing otel-orchestrator and its development tools into $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[demo]' --group dev
	@# Each release of it wants the very release of the others that came out with it, days later.
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps 'opentelemetry-instrumentation-threading>=0.66b0'
	@touch $@ $(VENV)/.demo

$(VENV)/.podman: $(VENV)/.dev
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check 'podman-compose>=1.5,<2'
	@touch $@

$(OLDEST)/.ready: $(OLDEST)/.created pyproject.toml tests/oldest.txt tests/previous.txt
	@echo "Installing the oldest supported libraries into $(OLDEST) ..."
	@$(OLDEST)/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[langgraph]' --requirement tests/oldest.txt
	@rm -rf $(OLDEST)/previous
	@$(OLDEST)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --target $(OLDEST)/previous --requirement tests/previous.txt
	@touch $@
