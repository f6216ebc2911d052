#!/bin/sh
# A Docker daemon for tests.
#
#   daemon.sh start DIR [PID]   Prints DOCKER_HOST=... of a daemon that answers: the one that
#                               DOCKER_HOST names, else the system's, else a private one whose
#                               files are below DIR. With PID, the private one ends with that
#                               process. A second start finds the first.
#   daemon.sh stop DIR          Ends the private daemon of DIR, if there is one, and clears DIR.
#   daemon.sh env DIR           Prints DOCKER_HOST=... of the private daemon, if it answers.
#
# GNOMON_PRIVATE_DAEMON=1 starts a private one whatever else answers; it is the first dockerd in PATH.
# The private daemon leaves the default bridge and the firewall of the machine alone. Its networks have addresses
# beside those that Docker takes by itself, and are small: there is room for 256 of them.
set -eu

system=/var/run/docker.sock
# A daemon takes its time on a busy machine.
patience=300

usage() {
    echo "usage: $0 start DIR [PID] | stop DIR | env DIR" >&2
    exit 2
}

fail() {
    echo "$0: $*" >&2
    exit 1
}

answers() {
    [ -S "$1" ] && timeout 5 docker --host "unix://$1" version >/dev/null 2>&1
}

needs() {
    for program in "$@"; do
        command -v "$program" >/dev/null 2>&1 ||
            fail "$program is missing; run: apt-get install -y docker.io busybox-static"
    done
}

is_ours() {
    [ -r "/proc/$1/cmdline" ] && tr '\0' ' ' <"/proc/$1/cmdline" | grep -qF -- "$dir/docker.pid"
}

start() {
    needs docker
    case "${DOCKER_HOST:-}" in
    '') ;;
    unix://*)
        answers "${DOCKER_HOST#unix://}" || fail "nobody answers at DOCKER_HOST=$DOCKER_HOST"
        echo "DOCKER_HOST=$DOCKER_HOST"
        return
        ;;
    *) fail "DOCKER_HOST=$DOCKER_HOST is not a unix:// socket" ;;
    esac
    if [ -z "${GNOMON_PRIVATE_DAEMON:-}" ] && answers "$system"; then
        echo "DOCKER_HOST=unix://$system"
        return
    fi
    start_private "${1:-}"
    echo "DOCKER_HOST=unix://$socket"
}

start_private() {
    needs dockerd containerd runc setsid flock
    [ "$(id -u)" = 0 ] || fail "only root can start a Docker daemon; or set DOCKER_HOST"
    [ "${#socket}" -le 100 ] || fail "the path $socket is too long for a socket"
    mkdir -p "$dir"
    exec 9>"$dir/start.lock"
    flock 9
    if answers "$socket"; then
        return
    fi
    rm -f "$dir/docker.pid"
    setsid dockerd --data-root "$dir/data" --exec-root "$dir/exec" --pidfile "$dir/docker.pid" \
        --host "unix://$socket" --bridge none --iptables=false --ip-masq=false \
        --containerd-namespace "gnomon-$$" --containerd-plugins-namespace "gnomon-plugins-$$" \
        --insecure-registry 127.0.0.0/8 --shutdown-timeout 2 \
        --default-address-pool base=172.16.0.0/16,size=24 \
        >"$dir/dockerd.log" 2>&1 </dev/null 9>&- &
    started=$!
    waited=0
    until answers "$socket"; do
        kill -0 "$started" 2>/dev/null || fail "dockerd ended: $(tail -n 3 "$dir/dockerd.log")"
        [ "$waited" -lt $((patience * 10)) ] || fail "dockerd does not answer; see $dir/dockerd.log"
        sleep 0.1
        waited=$((waited + 1))
    done
    if [ -n "$1" ]; then
        setsid "$0" follow "$dir" "$1" >/dev/null 2>&1 </dev/null 9>&- &
    fi
}

# Ends the daemon once a process has ended, unless it was ended before.
follow() {
    while kill -0 "$1" 2>/dev/null && [ -e "$dir/docker.pid" ]; do
        sleep 0.5
    done
    stop
}

stop() {
    if [ -r "$dir/docker.pid" ]; then
        pid=$(cat "$dir/docker.pid")
        if is_ours "$pid"; then
            kill "$pid"
            waited=0
            while is_ours "$pid"; do
                if [ "$waited" -ge 600 ]; then
                    kill -9 "$pid"
                fi
                sleep 0.1
                waited=$((waited + 1))
            done
        fi
    fi
    # The deepest first; what a killed daemon left.
    awk -v dir="$dir/" 'index($2, dir) == 1 { print $2 }' /proc/self/mounts | sort -r |
        while read -r mount; do
            umount -l "$mount" || fail "cannot unmount $mount"
        done
    # The bridges of networks that were not removed stay, and each holds its addresses.
    networks=$dir/data/network/files/local-kv.db
    if [ -r "$networks" ] && command -v ip >/dev/null 2>&1; then
        grep -aoE 'br-[0-9a-f]{12}' "$networks" | sort -u | while read -r bridge; do
            ip link del "$bridge" 2>/dev/null || true
        done
    fi
    rm -rf "$dir/data" "$dir/exec" "$dir/docker.sock" "$dir/docker.pid" "$dir/dockerd.log" \
        "$dir/start.lock"
    rmdir "$dir" 2>/dev/null || true
}

[ $# -ge 2 ] || usage
command=$1
case "$2" in
/*) dir=$2 ;;
*) dir=$(pwd)/$2 ;;
esac
socket=$dir/docker.sock
case "$command" in
start) start "${3:-}" ;;
stop) stop ;;
env) if answers "$socket"; then echo "DOCKER_HOST=unix://$socket"; else exit 1; fi ;;
follow) follow "${3:?}" ;;
*) usage ;;
esac
