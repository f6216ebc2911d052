#!/bin/sh
# A real Kubernetes for tests: control plane and nodes, in a PID namespace of its own.
#
#   cluster.sh start DIR [PID]   Prints KUBECONFIG=... of a cluster that answers: the one that
#                                KUBECONFIG names, else a private one whose files are below DIR.
#                                With PID, the private one ends with that process.
#                                It has GNOMON_NODES nodes (1). One that is silent for GNOMON_NODE_GRACE (50s) is not ready,
#                                and GNOMON_NODE_TOLERATION seconds (300) later its pods are made anew elsewhere.
#   cluster.sh agent DIR         Applies deploy/k3s/rbac.yaml to the private cluster of DIR and prints KUBECONFIG=... of
#                                its service account. What that asks for is written to DIR/log/audit, a line each.
#   cluster.sh apply DIR PATH    Applies the object on stdin (YAML) at a path of the API, as an administrator.
#   cluster.sh post DIR PATH     Posts the object on stdin (JSON) to a path of the API, as an administrator.
#   cluster.sh get DIR PATH      Prints what is at a path of the API, as an administrator sees it.
#   cluster.sh stop DIR          Ends the private cluster of DIR with all its pods, and clears DIR.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
# Seconds; a slow machine that starts several at once needs most of it.
patience=300

fail() {
    echo "$0: $*" >&2
    exit 1
}

is_ours() {
    [ -r "/proc/$1/cmdline" ] && tr '\0' ' ' <"/proc/$1/cmdline" | grep -qF -- "$dir/boot"
}

certificate() {
    name=$1 subject=$2 alt=${3:-}
    openssl req -newkey rsa:2048 -nodes -keyout "$pki/$name.key" -subj "$subject" 2>/dev/null |
        { echo "basicConstraints=CA:FALSE" >"$pki/ext" # A certificate without extensions is of version 1.
          [ -z "$alt" ] || echo "subjectAltName=$alt" >>"$pki/ext"
          openssl x509 -req -CA "$pki/ca.crt" -CAkey "$pki/ca.key" -CAcreateserial -days 30 \
              -extfile "$pki/ext" -out "$pki/$name.crt" 2>/dev/null; }
}

kubeconfig() {
    user="client-certificate-data: $(base64 -w0 "$pki/$1.crt"), client-key-data: $(base64 -w0 "$pki/$1.key")"
    kubeconfig_of "$1" "$user"
}

kubeconfig_of() {
    cat >"$dir/$1.kubeconfig" <<EOF
apiVersion: v1
kind: Config
clusters: [{name: test, cluster: {server: "https://127.0.0.1:$api", certificate-authority-data: $(base64 -w0 "$pki/ca.crt")}}]
users: [{name: test, user: {$2}}]
contexts: [{name: test, context: {cluster: test, user: test}}]
current-context: test
EOF
}

configure() {
    mkdir -p "$pki" "$dir/log"
    openssl req -x509 -newkey rsa:2048 -nodes -keyout "$pki/ca.key" -out "$pki/ca.crt" \
        -subj /CN=gnomon-test -days 30 2>/dev/null
    certificate server /CN=server "IP:127.0.0.1,IP:10.0.0.1,IP:$net.1"
    certificate admin /O=system:masters/CN=admin
    openssl genrsa -out "$pki/accounts.key" 2048 2>/dev/null
    kubeconfig admin
    for number in $(seq "$nodes"); do
        configure_node "$number"
    done
    cat >"$dir/audit.yaml" <<EOF
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- {level: Metadata, users: ["system:serviceaccount:gnomon:gnomon-edge"]}
- {level: None}
EOF
    for tag in 1 2; do
        image "gnomon-demo:$tag" "$tag" 'httpd","-f","-p","8080","-h","/www'
    done
    image sandbox:1 sandbox 'sleep","1000000000'
}

# What several nodes of one machine cannot share: the kubelets and containerds of a cluster, and those of other
# clusters, take away what they do not know.
configure_node() {
    mkdir -p "$dir/cni-$1"
    certificate "node-$1" "/O=system:nodes/CN=system:node:node-$1" "IP:$net.$1"
    kubeconfig "node-$1"
    cat >"$dir/kubelet-$1.yaml" <<EOF
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
port: $((api + 3 + $1))
healthzPort: 0
readOnlyPort: 0
authentication: {anonymous: {enabled: false}, webhook: {enabled: false}, x509: {clientCAFile: $pki/ca.crt}}
authorization: {mode: AlwaysAllow}
tlsCertFile: $pki/node-$1.crt
tlsPrivateKeyFile: $pki/node-$1.key
cgroupRoot: /$group/$1
podLogsDir: $dir/logs-$1
failCgroupV1: false
failSwapOn: false
cgroupDriver: cgroupfs
enforceNodeAllocatable: []
cgroupsPerQOS: true
oomScoreAdj: 0
resolvConf: ""
containerRuntimeEndpoint: unix://$run/containerd-$1.sock
imageGCHighThresholdPercent: 100 # The images are nowhere to be fetched again.
evictionHard: {memory.available: 50Mi}
EOF
    cat >"$dir/containerd-$1.toml" <<EOF
version = 2
root = "$dir/containerd-$1"
state = "$run/state-$1"
[grpc]
  address = "$run/containerd-$1.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "gnomon.dev/sandbox:1"
  restrict_oom_score_adj = true
  disable_apparmor = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "$dir/cni-$1"
EOF
    cat >"$dir/cni-$1/10-test.conflist" <<EOF
{"cniVersion": "0.4.0", "name": "test", "plugins": [{"type": "bridge", "bridge": "$bridge", "isGateway": true,
 "ipam": {"type": "host-local", "dataDir": "$run/ipam-$1", "ranges": [[{"subnet": "$net.0/24", "gateway": "$net.1",
 "rangeStart": "$net.$((100 * $1 - 90))", "rangeEnd": "$net.$((100 * $1))"}]]}}]}
EOF
    for at in $(groups); do
        mkdir -p "$at/$group/$1"
    done
}

# The folders in which the cluster's control groups are.
groups() {
    if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
        echo /sys/fs/cgroup
    else
        for at in /sys/fs/cgroup/*/; do
            [ ! -e "$at/cgroup.procs" ] || echo "${at%/}"
        done
    fi
}

# A docker-archive of one layer: busybox with all its names.
image() {
    root=$dir/image
    rm -rf "$root" && mkdir -p "$root/fs/bin" "$root/fs/etc" "$root/fs/tmp" "$root/fs/www"
    cp "$(command -v busybox)" "$root/fs/bin/busybox"
    for applet in $(busybox --list); do
        [ "$applet" = busybox ] || ln -sf busybox "$root/fs/bin/$applet"
    done
    chmod 1777 "$root/fs/tmp"
    echo 'root:x:0:0:root:/:/bin/sh' >"$root/fs/etc/passwd"
    echo "$2" >"$root/fs/version"
    tar -C "$root/fs" --numeric-owner --owner 0 --group 0 -cf "$root/layer.tar" .
    digest=$(sha256sum "$root/layer.tar" | cut -d ' ' -f 1)
    echo "{\"architecture\":\"amd64\",\"os\":\"linux\",\"config\":{\"Env\":[\"PATH=/bin\"],\"Cmd\":[\"$3\"]},\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"sha256:$digest\"]}}" >"$root/config.json"
    case "$1" in sandbox*) full=gnomon.dev/$1 ;; *) full=docker.io/library/$1 ;; esac
    echo "[{\"Config\":\"config.json\",\"RepoTags\":[\"$full\"],\"Layers\":[\"layer.tar\"]}]" >"$root/manifest.json"
    tar -C "$root" -cf "$dir/image-$(echo "$1" | tr : -).tar" config.json manifest.json layer.tar
}

# Runs as process 1 of the box; when it dies, so does all else in it.
boot() {
    mount -t tmpfs tmpfs /run
    mkdir -p "$run" /run/lock
    ip link add "$bridge" type bridge 2>/dev/null || true
    for number in $(seq "$nodes"); do
        ip addr add "$net.$number/24" dev "$bridge" 2>/dev/null || true
    done
    ip link set "$bridge" up
    "$program" etcd --data-dir "$dir/etcd" --unsafe-no-fsync --logger zap --log-level error \
        --listen-client-urls "http://127.0.0.1:$((api + 1))" --advertise-client-urls "http://127.0.0.1:$((api + 1))" \
        --listen-peer-urls "http://127.0.0.1:$((api + 2))" --initial-advertise-peer-urls "http://127.0.0.1:$((api + 2))" \
        --initial-cluster "default=http://127.0.0.1:$((api + 2))" >"$dir/log/etcd" 2>&1 &
    "$program" kube-apiserver --etcd-servers "http://127.0.0.1:$((api + 1))" --bind-address 127.0.0.1 \
        --advertise-address "$net.1" --secure-port "$api" --cert-dir "$pki" \
        --tls-cert-file "$pki/server.crt" --tls-private-key-file "$pki/server.key" --client-ca-file "$pki/ca.crt" \
        --service-account-issuer https://test --service-account-key-file "$pki/accounts.key" \
        --service-account-signing-key-file "$pki/accounts.key" --service-cluster-ip-range 10.0.0.0/24 \
        --authorization-mode Node,RBAC --allow-privileged \
        --audit-policy-file "$dir/audit.yaml" --audit-log-path "$dir/log/audit" \
        --kubelet-client-certificate "$pki/admin.crt" --kubelet-client-key "$pki/admin.key" \
        --kubelet-certificate-authority "$pki/ca.crt" --kubelet-preferred-address-types InternalIP \
        ${GNOMON_NODE_TOLERATION:+--default-not-ready-toleration-seconds "$GNOMON_NODE_TOLERATION"} \
        ${GNOMON_NODE_TOLERATION:+--default-unreachable-toleration-seconds "$GNOMON_NODE_TOLERATION"} \
        >"$dir/log/kube-apiserver" 2>&1 &
    for number in $(seq "$nodes"); do
        containerd --config "$dir/containerd-$number.toml" >"$dir/log/containerd-$number" 2>&1 &
        socket=$run/containerd-$number.sock
        until ctr -a "$socket" version >/dev/null 2>&1; do sleep 0.1; done
        for image in "$dir"/image-*.tar; do
            ctr -a "$socket" -n k8s.io images import "$image" >>"$dir/log/images" 2>&1
        done
    done
    until curl -ksf "https://127.0.0.1:$api/readyz" >/dev/null; do sleep 0.1; done
    "$program" kube-controller-manager --kubeconfig "$dir/admin.kubeconfig" --secure-port 0 --leader-elect=false \
        --service-account-private-key-file "$pki/accounts.key" --root-ca-file "$pki/ca.crt" \
        --use-service-account-credentials --enable-hostpath-provisioner \
        ${GNOMON_NODE_GRACE:+--node-monitor-grace-period "$GNOMON_NODE_GRACE"} \
        >"$dir/log/kube-controller-manager" 2>&1 &
    "$program" kube-scheduler --kubeconfig "$dir/admin.kubeconfig" --secure-port 0 --leader-elect=false \
        >"$dir/log/kube-scheduler" 2>&1 &
    for number in $(seq "$nodes"); do
        "$program" kubelet --config "$dir/kubelet-$number.yaml" --kubeconfig "$dir/node-$number.kubeconfig" \
            --node-ip "$net.$number" --hostname-override "node-$number" --root-dir "$dir/kubelet-$number" \
            >"$dir/log/kubelet-$number" 2>&1 &
    done
    trap 'exit 0' TERM
    while :; do wait; sleep 1; done
}

names() {
    pki=$dir/pki run=/run/gnomon-kubernetes
    api=$(cat "$dir/port") net=10.$((100 + api % 100)).$((api / 100 % 250)) bridge=gnk$api
    group=gnomon-kubernetes-$api
}

# Ports that nobody has, ten from the one that is written down on: a bridge is made once only.
reserve() {
    candidate=$((21000 + $$ % 900 * 10))
    tries=0
    while listens "$candidate" || ! ip link add "gnk$candidate" type bridge 2>/dev/null; do
        tries=$((tries + 1))
        [ "$tries" -lt 900 ] || fail "cannot make a bridge for the pods: ip link add NAME type bridge"
        candidate=$((21000 + (candidate - 21000 + 10) % 9000))
    done
    echo "$candidate" >"$dir/port"
}

# Whether somebody listens on one of ten ports.
listens() {
    for number in 0 1 2 3 4 5 6 7 8 9; do
        if grep -qi "^ *[0-9]*: [0-9A-F]*:$(printf %04X $(($1 + number))) [0-9A-F:]* 0A" /proc/net/tcp /proc/net/tcp6; then
            return 0
        fi
    done
    return 1
}

start() {
    if [ -n "${KUBECONFIG:-}" ]; then
        echo "KUBECONFIG=$KUBECONFIG"
        return
    fi
    [ "$(id -u)" = 0 ] || fail "only root can start a node; or set KUBECONFIG"
    for needed in containerd ctr runc openssl curl ip busybox unshare; do
        command -v "$needed" >/dev/null || fail "$needed is missing; run: make setup"
    done
    [ -x /usr/lib/cni/bridge ] || fail "containernetworking-plugins is missing; run: make setup"
    if [ -n "${KUBEBUILDER_ASSETS:-}" ]; then
        for needed in etcd kube-apiserver kube-controller-manager kube-scheduler kubelet; do
            [ -x "$KUBEBUILDER_ASSETS/$needed" ] ||
                fail "KUBEBUILDER_ASSETS has no $needed; the tests need a node, too: unset it, or set KUBECONFIG"
        done
        program=$dir/program
    else
        program=$(sh "$here/build.sh")
    fi
    stop
    mkdir -p "$dir"
    if [ -n "${KUBEBUILDER_ASSETS:-}" ]; then
        printf '#!/bin/sh\nname=$1\nshift\nexec "%s/$name" "$@"\n' "$KUBEBUILDER_ASSETS" >"$program"
        chmod +x "$program"
    fi
    reserve
    names
    configure
    # The name of the file tells the box from other processes.
    printf '#!/bin/sh\nexec sh "%s" boot "%s" "%s"\n' "$here/cluster.sh" "$dir" "$program" >"$dir/boot"
    setsid unshare --pid --mount --uts --ipc --fork --kill-child=KILL --mount-proc sh "$dir/boot" \
        >"$dir/log/boot" 2>&1 </dev/null &
    echo $! >"$dir/pid"
    if [ -n "${1:-}" ]; then
        setsid sh "$here/cluster.sh" follow "$dir" "$1" >/dev/null 2>&1 </dev/null &
    fi
    waited=0
    for number in $(seq "$nodes"); do
        until takes_pods "$number"; do
            await "node $number is not ready"
        done
    done
    make api/v1/namespaces '{"metadata":{"name":"gnomon"}}'
    # Without it no pod is taken.
    until has api/v1/namespaces/gnomon/serviceaccounts/default; do
        await "the namespace has no service account"
    done
    # Volumes are folders below /tmp/hostpath_pv.
    make apis/storage.k8s.io/v1/storageclasses '{"metadata":{"name":"folders",
        "annotations":{"storageclass.kubernetes.io/is-default-class":"true"}},"provisioner":"kubernetes.io/host-path"}'
    echo "KUBECONFIG=$dir/admin.kubeconfig"
}

await() {
    is_ours "$(cat "$dir/pid")" || fail "the box ended; see $dir/log"
    [ "$waited" -lt $((patience * 5)) ] || fail "in ${patience}s $1; see $dir/log"
    sleep 0.2
    waited=$((waited + 1))
}

make() {
    ask "$1" -o /dev/null -H 'Content-Type: application/json' -d "$2"
}

ask() {
    path=$1
    shift
    curl -sf --cacert "$pki/ca.crt" --cert "$pki/admin.crt" --key "$pki/admin.key" "$@" \
        "https://127.0.0.1:$api/$path" || fail "the API server does not take $path; see $dir/log"
}

apply() {
    ask "$1?fieldManager=admin&force=true" -o /dev/null -X PATCH \
        -H 'Content-Type: application/apply-patch+yaml' --data-binary @-
}

post() {
    ask "$1" -o /dev/null -H 'Content-Type: application/json' --data-binary @-
}

agent() {
    [ -r "$dir/port" ] || fail "there is no private cluster in $dir"
    names
    rm -rf "$dir/rbac" && mkdir "$dir/rbac"
    awk -v dir="$dir/rbac/" '/^---$/ { n++; next } { print > (dir n + 0 ".yaml") }' "$here/../../deploy/k3s/rbac.yaml"
    for object in "$dir"/rbac/*.yaml; do
        name=$(sed -n 's/^  name: //p' "$object" | head -n 1)
        case $(sed -n 's/^kind: //p' "$object") in
        Namespace) at=api/v1/namespaces ;;
        ServiceAccount) at=api/v1/namespaces/gnomon/serviceaccounts ;;
        Role) at=apis/rbac.authorization.k8s.io/v1/namespaces/gnomon/roles ;;
        RoleBinding) at=apis/rbac.authorization.k8s.io/v1/namespaces/gnomon/rolebindings ;;
        *) fail "deploy/k3s/rbac.yaml has a kind that is not known here" ;;
        esac
        apply "$at/$name" <"$object"
    done
    token=$(ask api/v1/namespaces/gnomon/serviceaccounts/gnomon-edge/token \
        -H 'Content-Type: application/json' -d '{"spec":{"expirationSeconds":86400}}' |
        tr -d ' \n' | sed 's/.*"token":"\([^"]*\)".*/\1/')
    kubeconfig_of agent "token: $token"
    echo "KUBECONFIG=$dir/agent.kubeconfig"
}

has() {
    curl -sf --cacert "$pki/ca.crt" --cert "$pki/admin.crt" --key "$pki/admin.key" -o /dev/null "https://127.0.0.1:$api/$1"
}

# A node is ready, and the taint that it has before that is gone.
takes_pods() {
    node=$(curl -sf --cacert "$pki/ca.crt" --cert "$pki/admin.crt" --key "$pki/admin.key" \
        "https://127.0.0.1:$api/api/v1/nodes/node-$1" 2>/dev/null | tr -d ' \n') || return 1
    case "$node" in *'"taints"'*) return 1 ;; *'"type":"Ready","status":"True"'*) ;; *) return 1 ;; esac
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
        waited=0
        while is_ours "$pid" && [ "$waited" -lt 100 ]; do
            sleep 0.1
            waited=$((waited + 1))
        done
        names
        ip link del "$bridge" 2>/dev/null || true
    fi
    awk -v dir="$dir/" 'index($2, dir) == 1 { print $2 }' /proc/self/mounts | sort -r |
        while read -r mount; do umount -l "$mount" || true; done
    # What was in the box takes a moment to be gone, and writes until then.
    waited=0
    until clear_out; do
        [ "$waited" -lt 300 ] || fail "cannot clear $dir; what still uses it?"
        sleep 0.1
        waited=$((waited + 1))
    done
}

clear_out() {
    if [ -n "${group:-}" ]; then
        for at in $(groups); do
            [ ! -d "$at/$group" ] || find "$at/$group" -depth -type d -exec rmdir {} + 2>/dev/null || return 1
        done
    fi
    rm -rf "$dir" 2>/dev/null
}

[ $# -ge 2 ] || fail "usage: $0 start DIR [PID] | agent DIR | apply|post|get DIR PATH | stop DIR"
command=$1
nodes=${GNOMON_NODES:-1}
case "$2" in
/*) dir=$2 ;;
*) dir=$(pwd)/$2 ;;
esac
case "$command" in
start) start "${3:-}" ;;
stop) stop ;;
agent) agent ;;
apply)
    names
    apply "${3:?}"
    ;;
post)
    names
    post "${3:?}"
    ;;
get)
    names
    ask "${3:?}"
    ;;
follow) follow "${3:?}" ;;
boot)
    program=$3
    names
    boot
    ;;
*) fail "usage: $0 start DIR [PID] | agent DIR | apply|post|get DIR PATH | stop DIR" ;;
esac
