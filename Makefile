# Every door of the house. `make` alone lists them.
.DEFAULT_GOAL := help
.PHONY: help setup demo up test test-reference check format golden faults faults-controls revocation revocation-controls native bench bench-quick bench-versus bench-full many upgrade fuzz lock clean
SHELL := bash
BIN := .venv/bin
CARGO := PYO3_PYTHON=$(CURDIR)/$(BIN)/python cargo
PYTHON_RUN := CITYHUB_LOG_STRICT=1 $(BIN)/python
BENCH_RUN := PYTHONPATH=$(CURDIR):$(CURDIR)/tests $(BIN)/python -m benchmarks

help: ## list the doors
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-19s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## virtual environment, packages by hash, the broker's jars, the native kernel where cargo is, the demo's data (./cityhub-setup exits 4 when one is missing)
	@./cityhub-setup

demo: setup ## real data across the hub, every figure checked; ends with no process left (ARGS=--keep leaves it running)
	@$(BIN)/cityhub demo $(ARGS)

up: setup ## broker, serve and one worker on the default ports, until Ctrl-C
	@$(BIN)/cityhub up $(ARGS)

test: setup ## every test, with the real broker, and those of native/ where cargo is (ARGS="-k words" for some of Python's)
	$(PYTHON_RUN) -m pytest -n 3 --dist loadfile $(ARGS)
	@if [ -n "$(ARGS)" ]; then :; elif command -v cargo >/dev/null; then set -x; cd native; $(CARGO) test --quiet --locked --no-default-features; \
	else echo "native/ was not tested by itself: no cargo"; fi

test-reference: setup ## conformance, integration and faults on the reference kernel, as they run where there is no Rust
	CITYHUB_KERNEL=reference $(PYTHON_RUN) -m pytest -n 3 --dist loadfile tests/conformance tests/integration tests/faults $(ARGS)

check: setup ## style, types and the layers of the rooms; style and lints of the native kernel where cargo is
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	@if command -v cargo >/dev/null; then set -ex; cd native; $(CARGO) fmt --check; $(CARGO) clippy --quiet --locked --all-targets -- -D warnings; \
	cd fuzz; $(CARGO) fmt --check; $(CARGO) clippy --quiet --locked -- -D warnings; else echo "native/ was not checked: no cargo"; fi

native: ## build the native kernel anew (setup does it too, where cargo is; here its absence is an error)
	@./cityhub-setup native

fuzz: ## hostile inputs for the native kernel, after a proof that faults are found (SECONDS=600 TARGETS="wire …"); needs cargo
	@native/fuzz/run.sh $(or $(SECONDS),600) $(TARGETS)

format: setup ## let ruff lay out the source
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

golden: setup ## write the golden files and the tables of docs/reference anew; look at the difference before committing it
	CITYHUB_GOLDEN=write $(PYTHON_RUN) -m pytest -m golden
	git --no-pager diff --stat -- tests/golden docs/reference

faults: setup ## a million records while workers, broker and connector are killed at every failpoint: nothing lost, doubled or reordered (ARGS="--records 50000 --kernel reference")
	$(PYTHON_RUN) tests/faults/faults.py $(ARGS)

faults-controls: setup ## the same checks on broken builds: each must be caught under its own name
	$(PYTHON_RUN) tests/faults/controls.py $(ARGS)

revocation: setup ## 100 suspensions while every lane is saturated, then beside loads on serve: how fast, and nothing delivered behind the answer (ARGS="--load-agreements 500")
	$(PYTHON_RUN) tests/faults/revocation.py $(ARGS)

revocation-controls: setup ## the same check on a serve that leaves the fence out, and on one that answers too early: each must be caught
	$(PYTHON_RUN) tests/faults/revocation.py --rounds 12 --stopped 3 --control no-fence $(ARGS)
	$(PYTHON_RUN) tests/faults/revocation.py --rounds 12 --stopped 3 --control early-answer $(ARGS)

upgrade: setup ## a hub of another commit (BASE=COMMIT), with history and under load, is brought over to this one: nothing lost, doubled or billed twice (ARGS="--order serve-first --control drop")
	$(PYTHON_RUN) tests/faults/upgrade.py --base $(or $(BASE),HEAD) $(ARGS)

bench: setup ## the whole product beside a Go loop, Faust and two Python loops, every run checked: at most 25 minutes; writes docs/bench.md
	$(BENCH_RUN) standard --docs docs $(ARGS)

bench-quick: setup ## two minutes of it: ours and the Go loop at five agreements
	$(BENCH_RUN) quick $(ARGS)

bench-versus: setup ## this checkout beside a commit (BASE=COMMIT), in interleaved rounds on one broker: ratios of CPU per delivery and of memory
	PYTHONPATH=$(CURDIR):$(CURDIR)/tests $(BIN)/python -m benchmarks.versus --base $(or $(BASE),HEAD) $(ARGS)

bench-full: setup ## record sizes, many agreements, two workers, TLS, quiet datasets, ten million records; writes docs/bench-full.md
	$(BENCH_RUN) full --docs docs $(ARGS)

many: setup ## 5,000 agreements on one dataset, then 2,000 datasets: what acts, restarts, memory and checks cost, and whether it is linear (ARGS="--agreements 500 --datasets 0")
	PYTHONPATH=$(CURDIR):$(CURDIR)/tests:$(CURDIR)/tests/faults $(BIN)/python -m benchmarks.many $(ARGS)

lock: setup ## resolve pyproject.toml anew into requirements.lock, with hashes and without the name of a host
	@$(BIN)/python -m uv --version >/dev/null 2>&1 || $(BIN)/python -m pip install --quiet 'uv==0.13.9'
	$(BIN)/python -m uv pip compile --quiet --universal --python-version 3.11 --extra dev --generate-hashes \
	    --no-emit-index-url --custom-compile-command "make lock" pyproject.toml --output-file requirements.lock

clean: ## remove what the other doors made; the state folder .cityhub stays
	rm -rf .venv build dist deploy/kafka/libs deploy/kafka/target ./*.egg-info
	rm -rf native/target native/fuzz/target native/fuzz/corpus native/fuzz/findings hub/exchange/_native*.so
	rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage*
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
