#!/bin/sh
# KubeEdge's edgecore with pods and without a cloud, in namespaces of its own: what the site agent is
# measured beside.
#
#   edgecore.sh start DIR PODS [PID]   Starts a containerd and edgecore with so many static pods of the
#                                      image gnomon-demo:1, which the Docker daemon of DOCKER_HOST has.
#                                      Prints the id of edgecore's process when all of them run; the
#                                      files are below DIR. With PID, all of it ends with that process.
#   edgecore.sh pods DIR               Prints how many containers run, those of the pods' sandboxes too.
#   edgecore.sh stop DIR               Ends all of it, and clears DIR.
#
# The cloud's address is a port of the namespace on which nobody listens: the link is down.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
patience=180
net=10.88.0

fail() {
    echo "$0: $*" >&2
    exit 1
}

is_ours() {
    [ -r "/proc/$1/cmdline" ] && tr '\0' ' ' <"/proc/$1/cmdline" | grep -qF -- "$dir/boot"
}

certificates() {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$dir/ca.key" \
        -out "$dir/ca.crt" -subj /CN=edgecore-ca -days 30 2>/dev/null
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$dir/edge.key" \
        -subj /O=system:nodes/CN=system:node:edge 2>/dev/null |
        openssl x509 -req -CA "$dir/ca.crt" -CAkey "$dir/ca.key" -CAcreateserial -days 30 \
            -out "$dir/edge.crt" 2>/dev/null
}

images() {
    made=$(docker create gnomon-demo:1)
    docker export "$made" | docker import --change 'CMD ["/bin/sleep","1000000000"]' - gnomon-sandbox:1 >/dev/null
    docker rm "$made" >/dev/null
    docker save -o "$dir/images.tar" gnomon-demo:1 gnomon-sandbox:1
    docker rmi gnomon-sandbox:1 >/dev/null
}

configure() {
    mkdir -p "$dir/cni" "$dir/pods" "$dir/log"
    certificates
    images
    for at in $(groups); do
        mkdir -p "$at/$group"
    done
    cat >"$dir/containerd.toml" <<EOF
version = 2
root = "$dir/containerd"
state = "/run/containerd-state"
[grpc]
  address = "$socket"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "docker.io/library/gnomon-sandbox:1"
  restrict_oom_score_adj = true
  disable_apparmor = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "$dir/cni"
EOF
    cat >"$dir/cni/10-edge.conflist" <<EOF
{"cniVersion": "0.4.0", "name": "edge", "plugins": [{"type": "bridge", "bridge": "gnomon-edge", "isGateway": true,
 "ipam": {"type": "host-local", "dataDir": "/run/ipam", "ranges": [[{"subnet": "$net.0/24", "gateway": "$net.1"}]]}}]}
EOF
    # As `keadm join` sets it up, without a broker for devices; elsewhere, and without limits of this machine.
    cat >"$dir/edgecore.yaml" <<EOF
apiVersion: edgecore.config.kubeedge.io/v1alpha2
kind: EdgeCore
database: {dataSource: "$dir/edgecore.db"}
modules:
  deviceTwin: {dmiSockPath: "$dir/dmi.sock"}
  edgeHub:
    httpServer: "https://127.0.0.1:10002"
    tlsCaFile: "$dir/ca.crt"
    tlsCertFile: "$dir/edge.crt"
    tlsPrivateKeyFile: "$dir/edge.key"
    websocket: {enable: true, server: "127.0.0.1:10000"}
  eventBus: {enable: false}
  edged:
    hostnameOverride: edge
    nodeIP: $net.1
    rootDirectory: "$dir/edged"
    tailoredKubeletConfig:
      staticPodPath: "$dir/pods"
      podLogsDir: "$dir/pod-logs"
      containerRuntimeEndpoint: "unix://$socket"
      imageServiceEndpoint: "unix://$socket"
      cgroupDriver: cgroupfs
      cgroupRoot: "/$group"
      enforceNodeAllocatable: []
      oomScoreAdj: 0
      resolvConf: ""
      imageGCHighThresholdPercent: 100
      evictionHard: {memory.available: 50Mi, nodefs.available: 1Mi, nodefs.inodesFree: "1", imagefs.available: 1Mi, imagefs.inodesFree: "1"}
EOF
    for number in $(seq "$pods"); do
        cat >"$dir/pods/app-$number.yaml" <<EOF
apiVersion: v1
kind: Pod
metadata: {name: app-$number, namespace: default}
spec:
  terminationGracePeriodSeconds: 0
  containers: [{name: web, image: "docker.io/library/gnomon-demo:1", imagePullPolicy: Never}]
EOF
    done
}

# The folders in which control groups are.
groups() {
    if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
        echo /sys/fs/cgroup
    else
        for at in /sys/fs/cgroup/*/; do
            [ ! -e "$at/cgroup.procs" ] || echo "${at%/}"
        done
    fi
}

# Runs as process 1 of the box; when it dies, so does all else in it.
boot() {
    # What is written to fixed places stays in here.
    for hidden in /run /var/lib /var/log; do
        case "$dir $program" in
        *"$hidden/"*) ;;
        *) mount -t tmpfs tmpfs "$hidden" ;;
        esac
    done
    mkdir -p /run/lock
    ip link set lo up
    ip link add gnomon-edge type bridge
    ip addr add "$net.1/24" dev gnomon-edge
    ip link set gnomon-edge up
    containerd --config "$dir/containerd.toml" >"$dir/log/containerd" 2>&1 &
    until ctr -a "$socket" version >/dev/null 2>&1; do sleep 0.1; done
    ctr -a "$socket" -n k8s.io images import "$dir/images.tar" >"$dir/log/images" 2>&1
    "$program" --config "$dir/edgecore.yaml" >"$dir/log/edgecore" 2>&1 &
    trap 'exit 0' TERM
    while :; do wait; sleep 1; done
}

# The containers that run.
running() {
    ctr -a "$socket" -n k8s.io tasks list 2>/dev/null | grep -c RUNNING || true
}

# The process of edgecore, as it is called outside.
process() {
    for at in /proc/[0-9]*; do
        if [ "$(readlink "$at/exe" 2>/dev/null)" = "$program" ] &&
            tr '\0' ' ' <"$at/cmdline" 2>/dev/null | grep -qF -- "$dir/edgecore.yaml"; then
            echo "${at#/proc/}"
            return
        fi
    done
    return 1
}

start() {
    [ "$(id -u)" = 0 ] || fail "only root can start it"
    for needed in containerd ctr runc openssl ip unshare docker python3; do
        command -v "$needed" >/dev/null || fail "$needed is missing; run: make setup"
    done
    [ -x /usr/lib/cni/bridge ] || fail "containernetworking-plugins is missing; run: make setup"
    [ "${#socket}" -le 100 ] || fail "the path $socket is too long for a socket"
    program=$(sh "$here/build.sh")
    stop
    mkdir -p "$dir"
    configure
    # The name of the file tells the box from other processes.
    printf '#!/bin/sh\nexec sh "%s" boot "%s" "%s"\n' "$here/edgecore.sh" "$dir" "$program" >"$dir/boot"
    setsid unshare --pid --mount --uts --ipc --net --fork --kill-child=KILL --mount-proc sh "$dir/boot" \
        >"$dir/log/boot" 2>&1 </dev/null &
    echo $! >"$dir/pid"
    if [ -n "${1:-}" ]; then
        setsid sh "$here/edgecore.sh" follow "$dir" "$1" >/dev/null 2>&1 </dev/null &
    fi
    waited=0
    until [ "$(running)" -eq $((2 * pods)) ]; do
        is_ours "$(cat "$dir/pid")" || give_up "its box ended"
        [ "$waited" -lt $((patience * 5)) ] || give_up "in ${patience}s only $(running) of $((2 * pods)) containers came up"
        sleep 0.2
        waited=$((waited + 1))
    done
    process || give_up "edgecore does not run"
}

# The end of its log is all that is left.
give_up() {
    said=$(grep -E '^[EF][0-9]' "$dir/log/edgecore" 2>/dev/null | tail -n 1)
    stop
    fail "$1; its log ends with: ${said:-nothing}"
}

follow() {
    while kill -0 "$1" 2>/dev/null && [ -e "$dir/pid" ]; do
        sleep 0.5
    done
    stop
}

stop() {
    if [ -r "$dir/pid" ]; then
        pid=$(cat "$dir/pid")
        if is_ours "$pid"; then
            kill -9 "$pid"
        fi
    fi
    # What was in the box takes a moment to be gone, and writes until then.
    waited=0
    until clear_out; do
        [ "$waited" -lt 300 ] || fail "cannot clear $dir; what still uses it?"
        sleep 0.1
        waited=$((waited + 1))
    done
}

clear_out() {
    for at in $(groups); do
        [ ! -d "$at/$group" ] || find "$at/$group" -depth -type d -exec rmdir {} + 2>/dev/null || return 1
    done
    rm -rf "$dir" 2>/dev/null
}

[ $# -ge 2 ] || fail "usage: $0 start DIR PODS [PID] | pods DIR | stop DIR"
command=$1
case "$2" in
/*) dir=$2 ;;
*) dir=$(pwd)/$2 ;;
esac
socket=$dir/containerd.sock
group=gnomon-edgecore-$(echo "$dir" | cksum | cut -d ' ' -f 1)
case "$command" in
start)
    pods=${3:?}
    start "${4:-}"
    ;;
pods) running ;;
stop) stop ;;
follow) follow "${3:?}" ;;
boot)
    program=$3
    boot
    ;;
*) fail "usage: $0 start DIR PODS [PID] | pods DIR | stop DIR" ;;
esac
