#!/bin/sh
# Unchanged AWS SDKs against gnomon-cloud: over mTLS with certificates that it signed, and over REST
# with signed requests. GNOMON_CLOUD names the program (default target/debug/gnomon-cloud).
set -eu
cd "$(dirname "$0")/../.."
here=tests/aws
work=target/aws
program=$(realpath "${GNOMON_CLOUD:-target/debug/gnomon-cloud}")
mkdir -p "$work"

for command in python3 node npm; do
    command -v "$command" >/dev/null 2>&1 || {
        echo "aws: $command is missing; run: make setup" >&2
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
    npm ci --prefix "$work" --ignore-scripts --silent --no-audit --no-fund >&2
fi
# Node finds packages beside the script.
cp "$here/sdk_v2.mjs" "$work/"
exec "$work/venv/bin/python" -B "$here/main.py" "$program" "$work"
