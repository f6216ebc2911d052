#!/bin/sh
# Another engine than the system's Docker, for the parity suite.
#
#   engine.sh start docker26|podman DIR PID   Prints DOCKER_HOST=... of a private engine whose
#                                             files are below DIR; it ends with that process.
#   engine.sh stop DIR                        Ends it and clears what it ran.
#
# Docker 26 is that of the next Debian, from the machine's own package source, unpacked below DIR
# and not installed. podman is the system's; what is missing of it is installed.
set -eu

here=$(cd "$(dirname "$0")" && pwd)

fail() {
    echo "$0: $*" >&2
    exit 1
}

quietly() {
    "$@" >"$dir/install.log" 2>&1 || fail "$1 failed; see $dir/install.log"
}

# Packages of another release, without a trace on the machine.
unpack_docker26() {
    [ -x "$dir/root/usr/sbin/dockerd" ] && return
    mkdir -p "$dir/apt/lists/partial" "$dir/apt/cache/archives/partial" "$dir/packages" "$dir/root"
    source=$(apt-get indextargets --format '$(ORIGIN) $(REPO_URI)' |
        awk '$1 == "Debian" && $2 ~ /\/debian\/?$/ { print $2; exit }')
    [ -n "$source" ] || fail "apt knows no source of Debian's packages; run: apt-get update"
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $source trixie main" \
        >"$dir/apt/sources.list"
    : >"$dir/apt/status"
    cat >"$dir/apt/apt.conf" <<CONF
Dir::Etc::SourceList "$dir/apt/sources.list";
Dir::Etc::SourceParts "/dev/null";
Dir::State "$dir/apt";
Dir::State::Lists "$dir/apt/lists";
Dir::State::Status "$dir/apt/status";
Dir::Cache "$dir/apt/cache";
APT::Sandbox::User "root";
CONF
    export APT_CONFIG="$dir/apt/apt.conf"
    quietly apt-get update -q
    (cd "$dir/packages" && quietly apt-get download -q docker.io)
    unset APT_CONFIG
    for package in "$dir"/packages/*.deb; do
        dpkg-deb -x "$package" "$dir/root"
    done
}

start_podman() {
    if ! command -v podman >/dev/null 2>&1; then
        export DEBIAN_FRONTEND=noninteractive
        quietly apt-get install -q -y --no-install-recommends podman golang-github-containernetworking-plugin-dnsname
    fi
    # It would raise the limits of processes, for which this machine may lack the rights.
    cat >"$dir/containers.conf" <<CONF
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
[containers]
log_driver = "json-file"
default_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]
CONF
    cat >"$dir/registries.conf" <<CONF
unqualified-search-registries = ["docker.io"]
[[registry]]
prefix = "127.0.0.1"
location = "127.0.0.1"
insecure = true
CONF
    export CONTAINERS_CONF="$dir/containers.conf" CONTAINERS_REGISTRIES_CONF="$dir/registries.conf"
    setsid podman --root "$dir/data" --runroot "$dir/exec" --tmpdir "$dir/tmp" \
        system service --time 0 "unix://$dir/docker.sock" >"$dir/podman.log" 2>&1 </dev/null &
    echo $! >"$dir/podman.pid"
    waited=0
    until [ -S "$dir/docker.sock" ] &&
        timeout 5 docker --host "unix://$dir/docker.sock" version >/dev/null 2>&1; do
        [ "$waited" -lt 300 ] || fail "podman does not answer; see $dir/podman.log"
        sleep 0.1
        waited=$((waited + 1))
    done
}

start() {
    mkdir -p "$dir"
    case "$engine" in
    docker26)
        unpack_docker26
        PATH="$dir/root/usr/sbin:$dir/root/usr/libexec/docker:$dir/root/usr/bin:$PATH" \
            GNOMON_PRIVATE_DAEMON=1 "$here/daemon.sh" start "$dir/daemon" "$1"
        ;;
    podman)
        start_podman
        echo "DOCKER_HOST=unix://$dir/docker.sock"
        ;;
    *) fail "the engine is docker26 or podman, not $engine" ;;
    esac
}

stop() {
    "$here/daemon.sh" stop "$dir/daemon"
    if [ -r "$dir/podman.pid" ]; then
        pid=$(cat "$dir/podman.pid")
        if [ -r "/proc/$pid/cmdline" ] && tr '\0' ' ' <"/proc/$pid/cmdline" | grep -qF "$dir"; then
            kill "$pid"
        fi
        podman --root "$dir/data" --runroot "$dir/exec" --tmpdir "$dir/tmp" rm --all --force \
            >/dev/null 2>&1 || true
        rm -f "$dir/podman.pid"
    fi
}

[ $# -ge 2 ] || fail "start docker26|podman DIR PID, or stop DIR"
case "$1" in
start) engine=$2 dir=$(realpath -m "$3") ;;
stop) dir=$(realpath -m "$2") ;;
*) fail "start or stop, not $1" ;;
esac
case "$1" in
start) start "$4" ;;
stop) stop ;;
esac
