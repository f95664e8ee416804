# Thin names for the real commands. Each asks nothing and says what it installs.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.PHONY: demo test lint bench build guests

export CARGO_INCREMENTAL := 0
export CARGO_TARGET_DIR ?= $(CURDIR)/target
export PATH := $(PATH):$(HOME)/.cargo/bin

# The command, and the components the demo, the tests and the bench run.
OPSIQ := $(CARGO_TARGET_DIR)/release/opsiq
export OPSIQ_GUESTS := $(CARGO_TARGET_DIR)/guests

# Plays one connector's whole story against a real order server.
demo:
	@.ci/setup
	@$(MAKE) --no-print-directory guests
	@examples/demo/run

# Everything that can fail: units, the system from outside, the README's own commands.
test:
	@.ci/setup
	@.ci/fixtures
	@$(MAKE) --no-print-directory guests
	@if cargo nextest --version >/dev/null 2>&1; then \
	    cargo nextest run --release --locked --workspace; \
	else \
	    cargo test --release --locked --workspace --lib --bins --tests; \
	fi
	cargo test --release --locked --workspace --doc
	examples/demo/readme

lint:
	@.ci/setup lint
	cargo fmt --all --check
	cargo clippy --release --locked --workspace --all-targets -- -D warnings
	cargo deny --log-level error check bans licenses sources

# Ratios against the bare engine, in one run; BENCH_ARGS=--short for a quick look.
bench:
	@.ci/setup
	@$(MAKE) --no-print-directory guests
	@$(CARGO_TARGET_DIR)/release/bench $(BENCH_ARGS)

build:
	cargo build --release --locked --workspace --bins

guests: build
	@mkdir -p $(OPSIQ_GUESTS)
	cargo build --release --locked --manifest-path tests/smith/Cargo.toml --target-dir $(CARGO_TARGET_DIR)/smith
	cargo build --release --locked --manifest-path examples/signing/rust/Cargo.toml --target-dir $(CARGO_TARGET_DIR)/signing-example
	$(OPSIQ) plugin build examples/hello --locked --out $(OPSIQ_GUESTS)/hello.wasm
	$(OPSIQ) plugin build plugins/orders --locked --out $(OPSIQ_GUESTS)/orders.wasm
	$(OPSIQ) plugin build plugins/github --locked --out $(OPSIQ_GUESTS)/github.wasm
	$(OPSIQ) plugin build plugins/redact --locked --out $(OPSIQ_GUESTS)/redact.wasm
	$(OPSIQ) plugin build tests/hostile --locked --out $(OPSIQ_GUESTS)/hostile.wasm
