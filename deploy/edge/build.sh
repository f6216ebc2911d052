#!/bin/sh
# Builds the site agent as one static program and prints its path. With Rust's musl target it links
# musl; without, the system's C library, statically too.
#
#   build.sh [without-k3s]   without-k3s leaves the k3s orchestrator out: a smaller program
#   build.sh plan            builds and runs the benchmark of the planner in the same way
set -eu
cd "$(dirname "$0")/../.."

machine=$(uname -m)
target=$machine-unknown-linux-musl
if [ -d "$(rustc --print sysroot)/lib/rustlib/$target/lib" ] && command -v musl-gcc >/dev/null; then
    # For C code only. As linker, musl-gcc makes a dynamic program of what Rust means to be static.
    export "CC_$(echo "$target" | tr - _)=musl-gcc"
else
    echo "build: no musl here; for it run: rustup target add $target && apt-get install -y musl-tools" >&2
    target=$machine-unknown-linux-gnu
    export RUSTFLAGS="${RUSTFLAGS:-} -C target-feature=+crt-static"
fi
# Small before fast: one arena, threads keep little that is free, and it goes back to the system after a
# second.
conf=narenas:1,tcache_max:8192,lg_tcache_nslots_mul:-1,dirty_decay_ms:1000,muzzy_decay_ms:0
export JEMALLOC_SYS_WITH_MALLOC_CONF="$conf"
features=
case "${1:-}" in
'') ;;
plan) exec cargo bench --locked --profile edge --package gnomon-edge --bench plan --target "$target" ;;
without-k3s) features=--no-default-features ;;
*) echo "usage: $0 [without-k3s|plan]" >&2; exit 2 ;;
esac
# shellcheck disable=SC2086
cargo build --locked --profile edge --package gnomon-edge --target "$target" $features >&2
program=${CARGO_TARGET_DIR:-target}/$target/edge/gnomon-edge
if [ -n "$features" ]; then
    # Under a name of its own, so that neither is taken for the other.
    mv "$program" "$program-$1"
    program=$program-$1
fi
"$program" --version >/dev/null || { echo "build: $program does not run" >&2; exit 1; }
if ldd "$program" >/dev/null 2>&1 && ldd "$program" | grep -q '=>\|interpreter'; then
    echo "build: $program is not static" >&2
    exit 1
fi
echo "$program"
