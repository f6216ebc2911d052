# The commands of this repository. `make` alone lists them.

SHELL := /bin/sh
CARGO ?= cargo
SEEDS ?= 200
ORCHESTRATOR ?= auto
export RUST_BACKTRACE ?= 1

.DEFAULT_GOAL := help
.PHONY: help setup build demo test sim pair mutants explore fuzz bench powercut parity deb fmt lint doc deny ci clean

help: ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## install what the tests need (Debian, root): a Docker engine and a static busybox
	@sh tests/setup.sh

build: ## build the four programs into target/debug
	$(CARGO) build --locked --bins

demo: build ## watch Gnomon work: a cloud, two sites on bad 4G, an app, a cut link (ORCHESTRATOR=docker|process)
	@sh tests/setup.sh --optional
	@sh tests/demo.sh $(ORCHESTRATOR)

test: setup build ## everything: lints, laws, scenarios, simulation, contracts, end-to-end on real Docker
	@SEEDS=$(SEEDS) sh tests/run.sh

sim: ## the deterministic worlds: make sim SEEDS=20000, or WORLD=protocol|system SEED=n to replay one
	$(CARGO) build --locked --release --package gnomon-sim
	@if [ -n "$(SEED)" ]; then target/release/gnomon-sim sim --world $(or $(WORLD),protocol) --seed $(SEED) --trace; \
	else for world in $(or $(WORLD),protocol system); do \
	target/release/gnomon-sim sim --world $$world --seeds $(SEEDS) || exit 1; done; fi

pair: ## Writer against Reader under faults, many cases: make pair CASES=100000
	PROPTEST_CASES=$(or $(CASES),100000) $(CARGO) test --locked --release --package gnomon-sync --test pair

mutants: ## prove that the world can fail: wrong variants of the protocol, each caught; writes docs/reliability.md
	bash simulators/mutants/run.sh

explore: ## visit every state of a small world
	$(CARGO) run --locked --release --package gnomon-sim -- explore

fuzz: ## fuzz every decoder, SECONDS each (needs nightly and cargo-fuzz)
	sh fuzz/run.sh $(or $(SECONDS),60)

bench: ## measure, with peers in the same run: make bench, or BENCH=broker|shadow|sync|edge|k3s alone; results in target/bench
	@for bench in $(or $(BENCH),sync broker shadow edge k3s); do \
	profile=; if [ $$bench = edge ]; then profile="--profile dev"; fi; \
	$(CARGO) bench --locked $$profile --package gnomon-tests --bench $$bench || exit 1; done

powercut: build ## cut the power of a site in a box, ROUNDS times: make powercut ROUNDS=100
	ROUNDS=$(or $(ROUNDS),10) $(CARGO) test --locked --package gnomon-tests --test e2e power_cuts -- --nocapture

parity: ## the orchestrators' suite on another engine: make parity ENGINE=docker26|podman
	@sh tests/docker/parity.sh $(or $(ENGINE),docker26)

deb: ## the Debian package of the site agent, in target/deb
	@sh deploy/edge/deb.sh

fmt: ## format the code
	$(CARGO) fmt --all

lint: ## what CI refuses: formatting and every clippy warning
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- --deny warnings

doc: ## the documentation of the code, in target/doc
	RUSTDOCFLAGS="--deny warnings" $(CARGO) doc --locked --workspace --no-deps

deny: ## licences, sources and duplicates of the dependencies (needs cargo-deny)
	@command -v cargo-deny >/dev/null || { echo "cargo-deny is missing; run: cargo install cargo-deny" >&2; exit 1; }
	cargo deny check

ci: test ## what CI runs

clean: ## remove everything that was built
	$(CARGO) clean
