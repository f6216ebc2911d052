#!/bin/sh
# Installs mosquitto, the peer of this benchmark, if it is missing (Debian, root). Not fatal: without
# it the peer's columns stay empty.
set -eu

PATH=$PATH:/usr/sbin
command -v mosquitto >/dev/null 2>&1 && exit 0
if ! command -v apt-get >/dev/null 2>&1 || [ "$(id -u)" != 0 ]; then
    echo "bench: mosquitto is missing; on a Debian-like system: apt-get install mosquitto" >&2
    exit 1
fi
echo "bench: installing mosquitto" >&2
export DEBIAN_FRONTEND=noninteractive
apt-get update -q >&2
apt-get install -q -y --no-install-recommends mosquitto >&2
# The benchmark starts its own; the package's service is not wanted here.
if [ -d /run/systemd/system ]; then
    systemctl disable --now mosquitto >&2 || true
fi
