#!/bin/sh
# The suite that every orchestrator passes, and what only Docker does, on another engine.
#
#   parity.sh docker26|podman [FILTER...]
set -eu
cd "$(dirname "$0")/../.."

engine=${1:?"usage: $0 docker26|podman [FILTER...]"}
shift
[ $# -gt 0 ] || set -- on_docker:: docker:: images:: confine:: relay::
dir=target/engines/$engine
trap 'sh tests/docker/engine.sh stop "$dir"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
started=$(sh tests/docker/engine.sh start "$engine" "$dir" $$)
export "${started?}"
echo "$engine: $(docker version --format '{{.Server.Version}}, API {{.Server.APIVersion}}')" >&2
sh tests/docker/image.sh >&2
cargo test --locked --package gnomon-edge --test orchestrators -- "$@"
