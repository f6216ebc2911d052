#!/bin/sh
# All tests, in the order in which they are cheapest to fail. Called by `make test`.
set -eu
cd "$(dirname "$0")/.."
daemon=target/docker

stage() {
    printf '\n== %s\n' "$*" >&2
}

stage "format and lints"
cargo fmt --all --check
cargo clippy --locked --workspace --all-targets -- --deny warnings

stage "documentation"
RUSTDOCFLAGS="--deny warnings" cargo doc --locked --workspace --no-deps --quiet

stage "a Docker daemon and the test images"
started=$(sh tests/docker/daemon.sh start "$daemon" $$)
trap 'sh tests/docker/daemon.sh stop "$daemon"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export "${started?}"
sh tests/docker/image.sh

stage "unit tests, laws, scenarios, contract suites, end-to-end tests on $started"
cargo test --locked --workspace

stage "simulation: ${SEEDS:-200} seeds"
cargo run --locked --quiet --package gnomon-sim -- sim --seeds "${SEEDS:-200}"

stage "all passed"
