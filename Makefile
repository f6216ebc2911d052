# The commands of this repository. `make` alone lists them.

SHELL := /bin/sh
CARGO ?= cargo
SEEDS ?= 200
ORCHESTRATOR ?= auto
SITES ?= 1000 5000 10000
export RUST_BACKTRACE ?= 1

.DEFAULT_GOAL := help
.PHONY: help setup build demo test sim pair mutants explore fuzz bench scale kills powercut faults soak parity deb fmt lint doc deny ci clean

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

bench: ## measure, with peers in the same run: make bench, or BENCH=broker|shadow|sync|edge|k3s|micro alone; results in target/bench
	@for bench in $(or $(BENCH),sync broker shadow edge k3s); do \
	profile=; if [ $$bench = edge ]; then profile="--profile dev"; fi; \
	$(CARGO) bench --locked $$profile --package gnomon-tests --bench $$bench || exit 1; done

scale: ## the mass-reconnect test on a quiet machine, a run per size, into docs/scale.md: make scale SITES="1000 10000"
	sh simulators/scale.sh $(SITES)

kills: ## kill -9 the cloud under racing writers: make kills ROUNDS=100 WRITERS=1000
	GNOMON_KILL_ROUNDS=$(or $(ROUNDS),100) GNOMON_KILL_WRITERS=$(or $(WRITERS),1000) \
	$(CARGO) test --locked --package gnomon-cloud --test it racing_writers -- --nocapture

powercut: build ## cut the power of a site in a box, ROUNDS times: make powercut ROUNDS=100
	ROUNDS=$(or $(ROUNDS),10) $(CARGO) test --locked --package gnomon-tests --test e2e power_cuts -- --nocapture

faults: build ## break everything that can break: make faults MINUTES=20 SEED=7 (ONLY=link-out,cloned BURST=12); writes docs/reliability.md
	@sh tests/setup.sh
	@kept=0; $(CARGO) run --locked --quiet --package gnomon-tests --example faults -- run --minutes $(or $(MINUTES),20) \
	--seed $(or $(SEED),$$(date +%s)) --out target/faults $(if $(ONLY),--only $(ONLY)) $(if $(BURST),--burst $(BURST)) || kept=$$?; \
	$(if $(BURST),,$(CARGO) run --locked --quiet --package gnomon-tests --example faults -- table target/faults --into docs/reliability.md;) exit $$kept

soak: build ## an hour in which nothing may grow: make soak MINUTES=60 SITES=1000; writes docs/reliability.md
	@sh tests/setup.sh
	@$(CARGO) run --locked --quiet --package gnomon-tests --example faults -- soak --minutes $(or $(MINUTES),60) \
	--sites $(or $(SITES),1000) --seed $(or $(SEED),$$(date +%s)) --into docs/reliability.md

parity: setup ## the orchestrators' suite on another engine: make parity ENGINE=docker26|podman
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
