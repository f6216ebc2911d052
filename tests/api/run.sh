#!/bin/sh
# The HTTP API against its own OpenAPI description, by schemathesis: no 5xx, no answer that is not
# described, no request accepted that the description forbids. Bounded to SECONDS_FOR_API (default 40); SEED=n for other requests.
# GNOMON_CLOUD names the program; without it target/debug/gnomon-cloud is built.
set -eu
cd "$(dirname "$0")/../.."
target=${CARGO_TARGET_DIR:-target}
home=$PWD/tests/api
seconds=${SECONDS_FOR_API:-40}

if [ -z "${GNOMON_CLOUD:-}" ]; then
    cargo build --locked --quiet --package gnomon-cloud
    GNOMON_CLOUD=$target/debug/gnomon-cloud
fi
program=$(realpath "$GNOMON_CLOUD")

venv=$(realpath "$target")/api-venv
if ! cmp -s "$home/requirements.txt" "$venv/installed.txt"; then
    rm -rf "$venv"
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check -r "$home/requirements.txt" >&2
    cp "$home/requirements.txt" "$venv/installed.txt"
fi

work=$(mktemp -d)
mkfifo "$work/ready"
"$program" serve --data "$work/data" --http 127.0.0.1:0 --mqtt 127.0.0.1:0 \
    >"$work/ready" 2>"$work/log" &
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
http=$(printf '%s' "$ready" | "$venv/bin/python" -c 'import json, sys; print(json.load(sys.stdin)["http"])')
token=$(cat "$work/data/admin-token")

# What there is: a node with a shadow of two versions, and a thing with one.
call() {
    curl --silent --show-error --fail --output "$work/answer" --request "$1" --data "$3" \
        --header "Authorization: Bearer $token" --header "Content-Type: application/json" \
        "http://$http$2"
}
call PUT /v1/nodes/site-1 '{"labels": {"region": "north"}}'
call PATCH /v1/nodes/site-1/shadows/device/pump-7 '{"price": 1.75}'
call PATCH /v1/nodes/site-1/shadows/device/pump-7 '{"price": 1.79}'
call POST /things/pump-7/shadow '{"state": {"desired": {"price": 1.75}}}'
call POST /things/pump-7/shadow '{"state": {"reported": {"price": 1.75}}}'

# The stream of changes never ends, so it is not for this; tests/it/watching.rs has it.
run() {
    config=$1
    shift
    (
        cd "$work"
        "$venv/bin/st" --config-file "$home/$config.toml" run "http://$http/openapi.json" \
            --header "Authorization: Bearer $token" --exclude-path /v1/watch "$@" \
            --seed "${SEED:-1}" --max-time "$((seconds / 2))" --request-timeout 10 \
            --continue-on-failure --report json --report-json-path "$work/$config.json" \
            --checks not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,response_schema_conformance,ignored_auth,negative_data_rejection \
            >"$config.txt" 2>&1
    ) || sed -n '/FAILURES/,/SUMMARY/p;/ERRORS/,/SUMMARY/p' "$work/$config.txt" >&2
}
run one-shadow --exclude-name 'DELETE /v1/nodes/{node}'
run any-name

"$venv/bin/python" - "$work/one-shadow.json" "$work/any-name.json" <<'PYTHON'
import json
import sys

passed = failed = 0
for path in sys.argv[1:]:
    with open(path, encoding="utf-8") as report:
        report = json.load(report)
    cases = report["test_cases"]
    bad = cases["with_failures"] + cases["errored"] + len(report["errors"])
    passed += cases["generated"] - cases["without_checks"] - cases["with_failures"]
    failed += bad
    if not report["complete"] or cases["generated"] < 100:
        print(f"{path}: only {cases['generated']} cases were run", file=sys.stderr)
        failed += 1
print(f"{passed} passed, {failed} failed")
sys.exit(1 if failed else 0)
PYTHON
