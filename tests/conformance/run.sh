#!/bin/sh
# Public MQTT clients against the broker (`gnomon-cloud broker`), in every version and on every
# transport that they speak. Prints what passed and what failed; a client that is missing fails.
set -eu
cd "$(dirname "$0")/../.."
here=tests/conformance
work=target/conformance
binary=${1:-target/debug/gnomon-cloud}
mkdir -p "$work"

for command in python3 node npm mosquitto_pub mosquitto_sub mosquitto_rr; do
    command -v "$command" >/dev/null 2>&1 || {
        echo "conformance: $command is missing; run: make setup" >&2
        exit 1
    }
done
if ! cmp -s "$here/requirements.txt" "$work/requirements.txt"; then
    rm -rf "$work/venv"
    python3 -m venv "$work/venv"
    "$work/venv/bin/pip" install --quiet --disable-pip-version-check -r "$here/requirements.txt" >&2
    cp "$here/requirements.txt" "$work/requirements.txt"
fi
if ! cmp -s "$here/package-lock.json" "$work/package-lock.json"; then
    cp "$here/package.json" "$here/package-lock.json" "$work/"
    npm ci --prefix "$work" --silent --no-audit --no-fund >&2
fi
exec "$work/venv/bin/python" -B "$here/main.py" "$binary" "$work"
