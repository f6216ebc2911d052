#!/bin/sh
# Runs the demo: in a Docker daemon where one answers or can be started, else in host processes.
set -eu
cd "$(dirname "$0")/.."
orchestrator=${1:-auto}
dir=target/demo
daemon=target/docker

if [ "$orchestrator" != process ] && command -v dockerd >/dev/null 2>&1; then
    if started=$(sh tests/docker/daemon.sh start "$daemon" $$); then
        trap 'sh tests/docker/daemon.sh stop "$daemon"' EXIT
        trap 'exit 130' INT
        trap 'exit 143' TERM
        export "${started?}"
    elif [ "$orchestrator" = docker ]; then
        exit 1
    fi
fi
target/debug/gnomon demo --orchestrator "$orchestrator" --dir "$dir" --bin-dir target/debug
