#!/bin/sh
# All tests, in the order in which they are cheapest to fail. Called by `make test`.
set -eu
cd "$(dirname "$0")/.."
daemon=target/docker
small_disk=target/small-disk

stage() {
    printf '\n== %s\n' "$*" >&2
}

# Takes minutes the first time; the suites that need it wait for it.
if [ -z "${KUBECONFIG:-}" ]; then
    sh tests/kubernetes/build.sh >/dev/null &
fi

stage "crates: also those of other systems, whose licences are looked at"
cargo fetch --locked

stage "format and lints"
cargo fmt --all --check
cargo clippy --locked --workspace --all-targets -- --deny warnings
cargo clippy --locked --package gnomon-edge --no-default-features -- --deny warnings

stage "documentation"
RUSTDOCFLAGS="--deny warnings" cargo doc --locked --workspace --no-deps --quiet

stage "a Docker daemon, the test images, a disk that is small enough to fill"
clean_up() {
    sh tests/docker/daemon.sh stop "$daemon"
    umount "$small_disk" 2>/dev/null || true
}
trap clean_up EXIT
started=$(sh tests/docker/daemon.sh start "$daemon" $$)
mkdir -p "$small_disk"
mountpoint -q "$small_disk" || mount -t tmpfs -o size=32m,mode=0700 gnomon-small "$small_disk"
export GNOMON_TEST_SMALL_DISK="$PWD/$small_disk"
trap 'exit 130' INT
trap 'exit 143' TERM
export "${started?}"
sh tests/docker/image.sh

stage "unit tests, laws, scenarios, contract suites, end-to-end tests on $started"
cargo test --locked --workspace

stage "the API against its description"
GNOMON_CLOUD=target/debug/gnomon-cloud sh tests/api/run.sh

stage "public MQTT clients against the broker"
sh tests/conformance/run.sh

stage "unchanged AWS SDKs against the cloud"
sh tests/aws/run.sh

stage "the examples for clients"
sh tests/examples/run.sh

stage "the systemd unit and the image of the cloud"
sh tests/deploy/run.sh

stage "simulation: ${SEEDS:-200} seeds"
cargo run --locked --quiet --package gnomon-sim -- sim --seeds "${SEEDS:-200}"
cargo run --locked --quiet --package gnomon-sim -- sim --world system --seeds "${SEEDS:-200}"

stage "everything broken on purpose, for three minutes"
cargo run --locked --quiet --package gnomon-tests --example faults -- run --minutes 2.5 \
    --seed "${FAULTS_SEED:-9}" --out target/faults-short

stage "every state of a small world"
cargo run --locked --quiet --package gnomon-sim -- explore --shadows 2 --changes 1

stage "benchmarks, in their short form: that they work, not what things cost"
for bench in sync broker shadow edge micro; do
    GNOMON_BENCH=short cargo bench --locked --quiet --profile dev --package gnomon-tests \
        --bench "$bench"
done

stage "all passed"
