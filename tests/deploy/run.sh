#!/bin/sh
# What deploy/ holds: the systemd unit as systemd sees it, and the image on the daemon that DOCKER_HOST
# names: made, started as the operations page says, healthy, its data kept. GNOMON_CLOUD names the
# program (default target/debug/gnomon-cloud).
set -eu
cd "$(dirname "$0")/../.."
program=$(realpath "${GNOMON_CLOUD:-target/debug/gnomon-cloud}")
image=gnomon-cloud-test:$$
volume=gnomon-cloud-test-$$
container=gnomon-cloud-test-$$
project=gnomon-cloud-test-$$
work=$(mktemp -d)

fail() {
    echo "deploy: $*" >&2
    [ ! -s "$work/log" ] || tail -n 20 "$work/log" >&2
    exit 1
}

for command in docker curl systemd-analyze python3; do
    command -v "$command" >/dev/null 2>&1 || fail "$command is missing; run: make setup"
done

clean_up() {
    ! command -v compose >/dev/null || compose down --volumes >/dev/null 2>&1 || true
    docker rm --force --volumes "$container" >/dev/null 2>&1 || true
    docker volume rm --force "$volume" >/dev/null 2>&1 || true
    docker rmi --force "$image" >/dev/null 2>&1 || true
    rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

echo "== the unit"
# systemd wants the program of the unit to be there.
sed "s|/usr/local/bin/gnomon-cloud|$program|" deploy/gnomon-cloud.service >"$work/gnomon-cloud.service"
systemd-analyze verify --man=no "$work/gnomon-cloud.service" >"$work/log" 2>&1 ||
    fail "systemd refuses the unit"
if grep -i 'unknown\|ignoring' "$work/log"; then
    fail "systemd does not know a setting of the unit"
fi
# 0 is a program that can do nothing, 10 one that can do everything; threshold in tenths.
systemd-analyze security --no-pager --offline=true --threshold=15 "$work/gnomon-cloud.service" \
    >"$work/log" 2>&1 || fail "the unit lets the program do more than 1.5 on systemd's scale"
tail -n 1 "$work/log"

echo "== the image"
GNOMON_CLOUD=$program sh deploy/image.sh "$image" >"$work/log" 2>&1 || fail "no image was made"
docker image inspect --format '{{.Config.User}} {{.Size}}' "$image"

echo "== init in a volume, with a root that is read-only and no capabilities"
docker volume create "$volume" >/dev/null
# The test's daemon has no bridge; ports of the host that are free now stand for published ones.
ports=$(python3 -c 'import socket
held = [socket.socket() for _ in range(3)]
[s.bind(("127.0.0.1", 0)) for s in held]
print(*[s.getsockname()[1] for s in held])')
# shellcheck disable=SC2086
set -- $ports
confined="--network host --read-only --tmpfs /tmp --cap-drop ALL --security-opt no-new-privileges:true"
# shellcheck disable=SC2086
docker run --rm $confined --volume "$volume:/var/lib/gnomon-cloud" "$image" \
    init /var/lib/gnomon-cloud --name localhost --http "127.0.0.1:$1" --https "127.0.0.1:$2" \
    --mqtt "127.0.0.1:$3" >"$work/made" 2>"$work/log" || fail "init failed"
token=$(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["token"])' "$work/made")

start() {
    # shellcheck disable=SC2086
    docker run --detach --name "$container" $confined \
        --volume "$volume:/var/lib/gnomon-cloud" "$image" >/dev/null
}

healthy() {
    waited=0
    until docker exec "$container" /usr/bin/gnomon-cloud health >"$work/health" 2>"$work/log"; do
        waited=$((waited + 1))
        [ "$waited" -lt 150 ] || { docker logs "$container" >&2; fail "it does not become healthy"; }
        sleep 0.2
    done
}

echo "== serve, healthy, a node over HTTPS"
start
healthy
grep -q '"ready":true' "$work/health" || fail "it is not ready: $(cat "$work/health")"
docker cp "$container:/var/lib/gnomon-cloud/ca.pem" "$work/ca.pem"
call() {
    curl --silent --show-error --fail --cacert "$work/ca.pem" --request "$1" \
        --header "Authorization: Bearer $token" --header 'Content-Type: application/json' \
        --data "$3" "https://localhost:$https$2"
}
https=$2
call PUT /v1/nodes/site-1 '{}' >/dev/null || fail "no node could be made"
docker exec "$container" /bin/sh -c true >/dev/null 2>&1 && fail "the image holds a shell"

echo "== SIGTERM ends it with 0; a new container goes on with the volume"
docker stop --time 30 "$container" >/dev/null
code=$(docker inspect --format '{{.State.ExitCode}}' "$container")
[ "$code" = 0 ] || { docker logs "$container" >&2; fail "it ended with $code"; }
docker rm "$container" >/dev/null
start
healthy
call GET /v1/nodes/site-1 '' | grep -q '"name":"site-1"' || fail "the node is gone"

docker rm --force "$container" >/dev/null
echo "== the compose file: init, up, a node over the published port, down"
# Rights to raise limits are not everywhere; the ports are free ones.
printf 'version: "2.4"\nservices: {cloud: {ulimits: {nofile: 4096}}}\n' >"$work/limits.yaml"
export GNOMON_CLOUD_IMAGE="$image" GNOMON_CLOUD_HTTPS_PORT="$https" GNOMON_CLOUD_MQTT_PORT="$3"
compose() {
    docker-compose --project-name "$project" --file deploy/compose.yaml --file "$work/limits.yaml" "$@"
}
compose run --rm cloud init /var/lib/gnomon-cloud --name localhost >"$work/made" 2>"$work/log" ||
    fail "compose: init failed"
token=$(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["token"])' "$work/made")
compose up -d >"$work/log" 2>&1 || fail "compose: up failed"
container=${project}_cloud_1
healthy
docker cp "$container:/var/lib/gnomon-cloud/ca.pem" "$work/ca.pem"
call PUT /v1/nodes/site-1 '{}' >/dev/null || fail "compose: no node could be made"
compose down --volumes >"$work/log" 2>&1 || fail "compose: down failed"
echo "deploy: all passed"
