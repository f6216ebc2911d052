#!/bin/sh
# Installs what the tests need beyond a Rust toolchain: a Docker engine, a static busybox for its
# images, and public MQTT clients. With --optional nothing is fatal: what is missing is said, and
# the demo does without; then the clients are not asked for.
set -eu

optional=${1:-}
missing=

have() {
    command -v "$1" >/dev/null 2>&1
}

have dockerd && have docker && have containerd && have runc || missing="$missing docker.io"
have busybox && busybox --list | grep -qx httpd || missing="$missing busybox-static"
have iptables || missing="$missing iptables"
if [ "$optional" != --optional ]; then
    # Serves images to the tests of pulls.
    have docker-registry || missing="$missing docker-registry"
    # The box whose power is cut: its cable and its disk.
    have ip || missing="$missing iproute2"
    have mkfs.ext4 || missing="$missing e2fsprogs"
    # What a site's agent believes the time to be, in the campaign of faults.
    ls /usr/lib/*/faketime/libfaketimeMT.so.1 >/dev/null 2>&1 || missing="$missing libfaketime"
    # The node of the Kubernetes that the tests start; see tests/kubernetes/cluster.sh.
    if [ -z "${KUBECONFIG:-}" ]; then
        [ -x /usr/lib/cni/bridge ] || missing="$missing containernetworking-plugins"
    fi
    # What checks the systemd unit and the compose file of the cloud, and makes requests for
    # certificates in the examples.
    have systemd-analyze || missing="$missing systemd"
    have docker-compose || missing="$missing docker-compose"
    have openssl || missing="$missing openssl"
    have curl || missing="$missing curl"
    # The public MQTT clients that the broker is tested with.
    have mosquitto_pub && have mosquitto_rr || missing="$missing mosquitto-clients"
    have python3 && python3 -c 'import venv, ensurepip' 2>/dev/null || missing="$missing python3-venv"
    have node || missing="$missing nodejs"
    # What the benchmarks measure beside ours; their short form is a test.
    [ -x /usr/sbin/mosquitto ] || have mosquitto || missing="$missing mosquitto"
    ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || missing="$missing postgresql"
    have npm || missing="$missing npm"
fi
[ -z "$missing" ] && exit 0

if [ "$optional" = --optional ]; then
    echo "setup: without Docker here the demo runs host processes; for containers run: make setup" >&2
    exit 0
fi
if ! have apt-get || [ "$(id -u)" != 0 ]; then
    echo "setup: missing:$missing; as root on a Debian-like system run:" >&2
    echo "  apt-get update && apt-get install -y --no-install-recommends$missing" >&2
    exit 1
fi
echo "setup: installing$missing" >&2
export DEBIAN_FRONTEND=noninteractive
apt-get update -q >&2
# shellcheck disable=SC2086
apt-get install -q -y --no-install-recommends $missing >&2
