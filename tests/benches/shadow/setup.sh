#!/bin/sh
# Installs what the home-made stack of this benchmark is made of: mosquitto and PostgreSQL (Debian,
# root), and the worker's libraries into the folder $1. Not fatal: without it the peer's columns stay
# empty.
set -eu

venv=$1
PATH=$PATH:/usr/sbin
if ! command -v mosquitto >/dev/null 2>&1 || ! ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 ||
    ! python3 -c 'import ensurepip' >/dev/null 2>&1; then
    if ! command -v apt-get >/dev/null 2>&1 || [ "$(id -u)" != 0 ]; then
        echo "bench: on a Debian-like system: apt-get install mosquitto postgresql python3-venv" >&2
        exit 1
    fi
    echo "bench: installing mosquitto and PostgreSQL" >&2
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -q >&2
    apt-get install -q -y --no-install-recommends mosquitto postgresql python3-venv >&2
    # The benchmark starts its own; the packages' services are not wanted here.
    if [ -d /run/systemd/system ]; then
        systemctl disable --now mosquitto postgresql >&2 || true
    fi
fi
if ! "$venv/bin/python" -c 'import aiohttp, aiomqtt, asyncpg, uvloop' >/dev/null 2>&1; then
    echo "bench: installing the worker's libraries into $venv" >&2
    python3 -m venv "$venv" >&2
    "$venv/bin/pip" install -q 'aiohttp==3.*' 'aiomqtt==2.*' 'asyncpg==0.*' 'uvloop==0.*' >&2
fi
