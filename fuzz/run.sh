#!/bin/sh
# Fuzzes every decoder for SECONDS each (default 60): no crash, no single allocation over 64 MiB.
set -eu
cd "$(dirname "$0")"
seconds=${1:-60}

if ! cargo +nightly --version >/dev/null 2>&1; then
    echo "fuzz: needs a nightly toolchain: rustup toolchain install nightly" >&2
    exit 1
fi
if ! command -v cargo-fuzz >/dev/null 2>&1; then
    echo "fuzz: needs cargo-fuzz: cargo install cargo-fuzz" >&2
    exit 1
fi
for target in message document patch topic compose mqtt_codec mqtt_session; do
    printf '\n== %s\n' "$target" >&2
    mkdir -p "../target/fuzz-found/$target"
    # New finds go to target/; the corpus here is what is worth keeping.
    cargo +nightly fuzz run --fuzz-dir . "$target" "../target/fuzz-found/$target" "corpus/$target" -- \
        -max_total_time="$seconds" -max_len=65536 -malloc_limit_mb=64 -rss_limit_mb=1024 -timeout=10 \
        -print_final_stats=1 -verbosity=0
done
