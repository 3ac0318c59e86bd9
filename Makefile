# Every target sets up what it needs: a virtual environment here, servers for the tests from Maven.
VENV := .venv
PYTHON ?= python3
BIN := $(VENV)/bin
DEMO_ARGS ?=
BENCH_ARGS ?=
TEST_ARGS ?=
# More than two cores have: most of the tests wait for servers. The longest come first.
PARALLEL := -n 5 --dist loadgroup --no-loadscope-reorder
INTERPRETED := tests/domain/join tests/domain/tally tests/domain/test_against_oracle.py \
	$(addprefix tests/domain/statistics/test_,custom.py value_scores.py) \
	$(addprefix tests/domain/events/test_,event_lines.py document_batches.py documents.py) \
	tests/domain/test_traps.py $(addprefix tests/stream/test_,format.py observation_producer.py)
# Else numpy's threads wait for each other on the cores that the tests share.
export OPENBLAS_NUM_THREADS := 1
# Else promtool, which plays months of rules, spends an eighth to a quarter of its time on garbage.
export GOGC := 400
# Else each of the hundreds of processes that the tests start would compile the package again.
unexport PYTHONDONTWRITEBYTECODE
NATIVE := native/Cargo.toml
FUZZ := .cache/fuzz
FUZZ_TARGETS := json protobuf envelope gzip record_batch
FUZZ_SECONDS ?= 600
COMPILED := setup.cfg pyproject.toml $(NATIVE) $(shell find native/src -name "*.rs")

.PHONY: help run demo prepare test test-quick tests-all tests-interpreted tests-native fuzz chaos coverage lint format \
	bench dashboard lock clean
.DEFAULT_GOAL := help

help:  ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

run: $(VENV)/.runtime  ## Run the service; embedded unless PROCESSOR_BROKER is set
	$(BIN)/processor run

demo: $(VENV)/.runtime  ## Play an experiment into a fresh embedded service (DEMO_ARGS=--once)
	$(BIN)/processor demo $(DEMO_ARGS)

test: prepare  ## Run all tests (TEST_ARGS for pytest)
ifeq ($(TEST_ARGS),)
	+@$(MAKE) --no-print-directory --jobs=3 tests-all tests-interpreted tests-native
else
	$(BIN)/python -m pytest $(PARALLEL) $(TEST_ARGS)
endif

test-quick: $(VENV)/.test  ## Run the tests that are short and need no server, no Java, no browser
	$(BIN)/python -m pytest $(PARALLEL) -n auto --quick $(TEST_ARGS)

tests-all:
	$(BIN)/python -m pytest $(PARALLEL)

# The same results without the native extension. Only the tests that reach code of which there are two
# kinds, native and in Python: the join with its sums of values, the tally, and the reading of lines,
# documents and Kafka records. Decoder, scores and log are Python alone, and tests-all has tested them.
tests-interpreted:
	PROCESSOR_COMPILED=off $(BIN)/python -m pytest $(INTERPRETED)

# Not as the extension is built: it compiles in less time, and a number that overflows is an error.
tests-native:
	@if command -v cargo >/dev/null; then cargo test --quiet --manifest-path $(NATIVE); fi

# Of every function its branches, and what it compares: libFuzzer looks for inputs that change these.
fuzz: export RUSTFLAGS := -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
	-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
	-Cllvm-args=-sanitizer-coverage-trace-compares
# The flags are for the target alone, and so it has to be named.
fuzz: HOST = $(shell rustc --print host-tuple)
# The longest input is the longest record of Kafka's that is read.
fuzz: $(VENV)/.test  ## Fuzz each reader of the native extension for FUZZ_SECONDS, or until it crashes
	$(BIN)/python -m tests.support.events.fuzz_seeds $(FUZZ)
	cargo build --quiet --release --target $(HOST) --target-dir $(FUZZ)/target --manifest-path native/fuzz/Cargo.toml
	mkdir -p $(FUZZ_TARGETS:%=$(FUZZ)/found/%)
	set -e; for target in $(FUZZ_TARGETS); do \
		$(FUZZ)/target/$(HOST)/release/$$target -max_total_time=$(FUZZ_SECONDS) -max_len=16777216 \
			-rss_limit_mb=1024 -timeout=10 -print_final_stats=1 -artifact_prefix=$(FUZZ)/crash-$$target- \
			$(FUZZ)/found/$$target $(FUZZ)/seeds/$$target; done

# Packages and servers are fetched at the same time.
prepare:
	+@$(MAKE) --no-print-directory --jobs=2 $(VENV)/.test .cache/.servers

chaos: prepare  ## Run the tests of faults, of live = replay and of properties at full size; a table
	$(BIN)/python -m pytest tests/faults tests/integration/test_live_is_replay.py \
		tests/domain tests/savepoint tests/support/oracle tests/deploy/test_late_label_alerts.py --full \
		--timeout 7200 $(TEST_ARGS)

coverage: $(VENV)/.test  ## Measure what the tests without servers reach, with and without the native extension
	$(BIN)/python -m pytest $(PARALLEL) --quick --cov --cov-report=
	PROCESSOR_COMPILED=off $(BIN)/python -m pytest $(PARALLEL) --quick tests/domain --cov --cov-append \
		--cov-report=term:skip-covered

lint: $(VENV)/.test  ## Check style, types, the direction of imports, known vulnerabilities, names and sizes
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	@if command -v cargo >/dev/null; then \
		cargo fmt --check --manifest-path $(NATIVE) \
		&& cargo clippy --quiet --release --manifest-path $(NATIVE) -- --deny warnings \
		&& cargo check --quiet --release --no-default-features --manifest-path $(NATIVE); fi
	$(BIN)/python .ci/audit.py
	$(BIN)/python .ci/words.py

format: $(VENV)/.test  ## Format the code
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .

bench: prepare  ## Measure against other systems at the same job (BENCH_ARGS), and by kind of message
	$(BIN)/python -m bench --json bench/results.json $(BENCH_ARGS)
	$(BIN)/python -m bench.kinds --json bench/kinds.json
	$(BIN)/python -m bench.replay
	$(BIN)/python -m bench.ingress

dashboard: $(VENV)/.test  ## Build the Grafana dashboard and the rules, with RUNBOOKS=https://... in their links
	$(BIN)/python deploy/grafana/model_quality.py > deploy/grafana/model_quality.json
	RUNBOOKS=$(RUNBOOKS) $(BIN)/python deploy/prometheus/operator_rules.py > deploy/kubernetes/processor/prometheusrule.yaml
	cp deploy/prometheus/rules.yml deploy/grafana/model_quality.json deploy/helm/feedback-metrics-processor/files/

lock:  ## Pin what the image installs to today's versions
	$(PYTHON) -m venv --clear .cache/lock
	.cache/lock/bin/pip install --quiet --editable '.[snapshots]'
	{ head -1 deploy/constraints.txt; .cache/lock/bin/pip freeze --exclude-editable; } > .cache/constraints.txt
	mv .cache/constraints.txt deploy/constraints.txt

clean:  ## Remove the environment, what was compiled, and caches
	rm -rf $(VENV) .cache .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis build \
		*.egg-info processor/*.so native/target

$(VENV)/.runtime: $(COMPILED)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --editable .
	@touch $@

$(VENV)/.test: $(COMPILED)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --editable '.[test]'
	@touch $(VENV)/.runtime $@

# What the tests run for real: Java and Maven for Kafka and Elasticsearch, Prometheus, Chromium.
.cache/.servers: tests/install-servers.sh $(wildcard tests/support/servers/*.py)
	sh tests/install-servers.sh
	$(PYTHON) -m tests.support.servers.fetch
	@mkdir -p $(@D)
	@touch $@
