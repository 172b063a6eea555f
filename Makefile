# Every target does all its own set-up; nothing needs to be installed by hand beyond Rust, Python and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
OUT ?= stereotax-demo

.PHONY: demo test test-rust test-python python lint oracles calibrate bench docs clean

demo:
	cargo build --release --quiet -p stereotax-cli
	target/release/stereotax demo --out $(OUT)

test: lint test-rust test-python

lint:
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --quiet -- -D warnings

test-rust:
	cargo test --workspace --quiet

# The extension is built in the development profile: the same code, with its assertions on.
test-python: $(VENV)/.ready
	$(BIN)/maturin develop --quiet
	$(BIN)/ruff check python validation benches examples
	$(BIN)/python -m mypy python/stereotax
	$(BIN)/python -m mypy.stubtest stereotax._core --ignore-missing-stub --allowlist python/stubtest-allow.txt
	$(BIN)/python -m pytest -q python/tests

$(VENV)/.ready: python/requirements/test.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -r python/requirements/test.txt
	touch $@

# The package, optimised, in the virtual environment.
python: $(VENV)/.ready
	$(BIN)/maturin develop --quiet --release

# Live peers, side by side with us. Networks need torch, which brings 6 GB of libraries on Linux.
oracles: $(VENV)/.oracles $(VENV)/.torch
	$(BIN)/maturin develop --quiet --release
	$(BIN)/python -m pytest -q validation

$(VENV)/.oracles: $(VENV)/.ready python/requirements/oracles.txt
	$(BIN)/python -m pip install --quiet -r python/requirements/oracles.txt
	touch $@

$(VENV)/.torch: $(VENV)/.ready python/requirements/torch.txt
	$(BIN)/python -m pip install --quiet -r python/requirements/torch.txt
	touch $@

# Many seeds: p-values uniform under the null, intervals covering at their rate.
calibrate:
	STEREOTAX_CALIBRATE=1 cargo test --release -p stereotax --test calibrate_stats --test calibrate_rsa --test calibrate_encoding --test adaptive -- --nocapture

$(VENV)/.bench: $(VENV)/.oracles python/requirements/bench.txt
	$(BIN)/python -m pip install --quiet -r python/requirements/bench.txt
	touch $@

bench: $(VENV)/.bench
	$(BIN)/maturin develop --quiet --release
	$(BIN)/python benches/peers/run.py

docs:
	cargo doc --no-deps --workspace --exclude stereotax-python

clean:
	rm -rf target $(VENV) $(OUT)
