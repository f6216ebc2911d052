#!/bin/sh
# The mass-reconnect test, one run for each size of fleet, unattended; then the table of docs/scale.md
# from all reports that there are. Called by `make scale SITES="1000 5000 10000"`. A size takes four
# to seven minutes; nothing else should run on the machine meanwhile.
set -eu
cd "$(dirname "$0")/.."
out=target/scale
mkdir -p "$out"
cargo build --locked --release --package gnomon-sim --package gnomon-cloud
for sites in "$@"; do
    # A fleet that misses a target, or does not come back, has a report all the same.
    target/release/gnomon-sim fleet --start-cloud --sites "$sites" --ramp-per-s 500 --rest 40 --steady 30 \
        --writes 1 --storm 30 --patience 180 --time 1200 --out "$out/$sites.json" || true
done
set --
for sites in $(cd "$out" && ls ./*.json | sed 's,[^0-9],,g' | sort -n); do
    set -- "$@" "$out/$sites.json"
done
target/release/gnomon-sim report table "$@"
target/release/gnomon-sim report table "$@" --into docs/scale.md
