#!/bin/sh
# Runs every program of examples/clients against one cloud and compares what it prints. GNOMON_CLOUD
# names the program (default target/debug/gnomon-cloud).
set -eu
cd "$(dirname "$0")/../.."
here=tests/examples
clients=examples/clients
target=${CARGO_TARGET_DIR:-target}
program=$(realpath "${GNOMON_CLOUD:-$target/debug/gnomon-cloud}")

for command in curl openssl python3 node; do
    command -v "$command" >/dev/null 2>&1 || {
        echo "examples: $command is missing; run: make setup" >&2
        exit 1
    }
done
venv=$(realpath "$target")/examples-venv
if ! cmp -s "$here/requirements.txt" "$venv/installed.txt"; then
    rm -rf "$venv"
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check -r "$here/requirements.txt" >&2
    cp "$here/requirements.txt" "$venv/installed.txt"
fi
cargo build --locked --quiet --package gnomon-tests --example backend

work=$(mktemp -d)
export AWS_ACCESS_KEY_ID=AKIAGNOMON AWS_SECRET_ACCESS_KEY=a-secret-of-the-test-only
echo "$AWS_ACCESS_KEY_ID:$AWS_SECRET_ACCESS_KEY" >"$work/keys"
printf '[aws]\naccess_keys = "%s"\n' "$work/keys" >"$work/cloud.toml"
mkfifo "$work/ready"
"$program" serve --data "$work/data" --config "$work/cloud.toml" --http 127.0.0.1:0 \
    --mqtt 127.0.0.1:0 >"$work/ready" 2>"$work/log" &
server=$!
clean_up() {
    kill "$server" 2>/dev/null || true
    wait "$server" 2>/dev/null || true
    rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
read -r ready <"$work/ready" || { cat "$work/log" >&2; exit 1; }
port_of() {
    printf '%s' "$ready" | python3 -c 'import json, sys; print(json.load(sys.stdin)[sys.argv[1]])' "$1"
}
GNOMON_URL=http://$(port_of http)
GNOMON_TOKEN=$(cat "$work/data/admin-token")
export GNOMON_URL GNOMON_TOKEN
mqtt=$(port_of mqtt)
failed=0

# expect NAME FILE LINE...: each line is in what the program printed, in this order.
expect() {
    name=$1
    file=$2
    shift 2
    for line in "$@"; do
        if ! grep -qF -- "$line" "$file"; then
            echo "FAILED  $name: no line with: $line" >&2
            cat "$file" >&2
            failed=1
            return
        fi
    done
    echo "ok      $name"
}

backend() {
    name=$1
    shift
    if ! timeout 60 "$@" "$name" >"$work/$name" 2>&1; then
        echo "FAILED  $name ended with an error" >&2
        cat "$work/$name" >&2
        failed=1
        return
    fi
    # What every backend prints, whatever the language's quotes are.
    tr -d "\"'" <"$work/$name" >"$work/$name.plain"
    expect "$name" "$work/$name.plain" 'node: 201' 'written: 201' \
        'a version that is out of date: 412' 'the version that is there: 200' "$expected"
}

expected='event: synced' backend curl sh "$clients/curl/backend.sh"
grep -q '"by":"admin"' "$work/curl" || { echo "FAILED  curl: no history" >&2; failed=1; }
expected='changed meanwhile: {price: 1.81}' backend python python3 "$clients/python/backend.py"
expected='changed meanwhile: {price:1.81}' backend javascript node "$clients/javascript/backend.mjs"
expected='changed meanwhile: {price:1.81}' backend rust "$target/debug/examples/backend"
for name in python javascript rust; do
    expect "$name, history" "$work/$name.plain" 'version 3 by admin' 'version 2 by admin'
done

sh "$clients/curl/certificate.sh" pump-7 "$work/pump-7"
timeout 60 "$venv/bin/python" "$clients/python/thing_boto3.py" pump-7 1.79 >"$work/boto3" 2>&1 || failed=1
expect boto3 "$work/boto3" 'version: 1' 'ConflictException' "desired: {'price': 1.79}"
timeout 60 "$venv/bin/python" "$clients/python/thing_paho.py" localhost "${mqtt##*:}" pump-7 \
    "$work/pump-7" >"$work/paho" 2>&1 || failed=1
expect paho "$work/paho" "shall show: {'price': 1.79}" "shows what is desired: {'price': 1.79}"

if grep -E 'ERROR|panicked' "$work/log" >&2; then
    failed=1
fi
[ "$failed" = 0 ] || exit 1
echo "examples: all passed"
