#!/bin/sh
# A real Kubernetes for tests: control plane and one node, in a PID namespace of its own.
#
#   cluster.sh start DIR [PID]   Prints KUBECONFIG=... of a cluster that answers: the one that
#                                KUBECONFIG names, else a private one whose files are below DIR.
#                                With PID, the private one ends with that process.
#                                A node that is silent for GNOMON_NODE_GRACE (50s, if it is not set) is not ready.
#   cluster.sh agent DIR         Applies deploy/k3s/rbac.yaml to the private cluster of DIR and prints KUBECONFIG=... of
#                                its service account. What that asks for is written to DIR/log/audit, a line each.
#   cluster.sh apply DIR PATH    Applies the object on stdin (YAML) at a path of the API, as an administrator.
#   cluster.sh stop DIR          Ends the private cluster of DIR with all its pods, and clears DIR.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
patience=90

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
    mkdir -p "$pki" "$dir/cni" "$dir/log"
    openssl req -x509 -newkey rsa:2048 -nodes -keyout "$pki/ca.key" -out "$pki/ca.crt" \
        -subj /CN=gnomon-test -days 30 2>/dev/null
    certificate server /CN=server "IP:127.0.0.1,IP:10.0.0.1,IP:$node_ip"
    certificate admin /O=system:masters/CN=admin
    certificate node /O=system:nodes/CN=system:node:node-1 "IP:$node_ip"
    openssl genrsa -out "$pki/accounts.key" 2048 2>/dev/null
    kubeconfig admin
    kubeconfig node
    cat >"$dir/kubelet.yaml" <<EOF
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
port: $((api + 4))
healthzPort: 0
readOnlyPort: 0
authentication: {anonymous: {enabled: false}, webhook: {enabled: false}, x509: {clientCAFile: $pki/ca.crt}}
authorization: {mode: AlwaysAllow}
tlsCertFile: $pki/node.crt
tlsPrivateKeyFile: $pki/node.key
failCgroupV1: false
failSwapOn: false
cgroupDriver: cgroupfs
enforceNodeAllocatable: []
cgroupsPerQOS: true
oomScoreAdj: 0
resolvConf: ""
containerRuntimeEndpoint: unix://$run/containerd.sock
imageGCHighThresholdPercent: 100 # The images are nowhere to be fetched again.
evictionHard: {memory.available: 50Mi}
EOF
    cat >"$dir/audit.yaml" <<EOF
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- {level: Metadata, users: ["system:serviceaccount:gnomon:gnomon-edge"]}
- {level: None}
EOF
    cat >"$dir/containerd.toml" <<EOF
version = 2
root = "$dir/containerd"
state = "$run/state"
[grpc]
  address = "$run/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "gnomon.dev/sandbox:1"
  restrict_oom_score_adj = true
  disable_apparmor = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "$dir/cni"
EOF
    cat >"$dir/cni/10-test.conflist" <<EOF
{"cniVersion": "0.4.0", "name": "test", "plugins": [{"type": "bridge", "bridge": "$bridge", "isGateway": true,
 "ipam": {"type": "host-local", "dataDir": "$run/ipam", "ranges": [[{"subnet": "$net.0/24"}]]}}]}
EOF
    for tag in 1 2; do
        image "gnomon-demo:$tag" "$tag" 'httpd","-f","-p","8080","-h","/www'
    done
    image sandbox:1 sandbox 'sleep","1000000000'
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
    ip addr add "$net.1/24" dev "$bridge" 2>/dev/null || true
    ip link set "$bridge" up
    "$program" etcd --data-dir "$dir/etcd" --unsafe-no-fsync --logger zap --log-level error \
        --listen-client-urls "http://127.0.0.1:$((api + 1))" --advertise-client-urls "http://127.0.0.1:$((api + 1))" \
        --listen-peer-urls "http://127.0.0.1:$((api + 2))" --initial-advertise-peer-urls "http://127.0.0.1:$((api + 2))" \
        --initial-cluster "default=http://127.0.0.1:$((api + 2))" >"$dir/log/etcd" 2>&1 &
    "$program" kube-apiserver --etcd-servers "http://127.0.0.1:$((api + 1))" --bind-address 127.0.0.1 \
        --advertise-address "$node_ip" --secure-port "$api" --cert-dir "$pki" \
        --tls-cert-file "$pki/server.crt" --tls-private-key-file "$pki/server.key" --client-ca-file "$pki/ca.crt" \
        --service-account-issuer https://test --service-account-key-file "$pki/accounts.key" \
        --service-account-signing-key-file "$pki/accounts.key" --service-cluster-ip-range 10.0.0.0/24 \
        --authorization-mode Node,RBAC --allow-privileged \
        --audit-policy-file "$dir/audit.yaml" --audit-log-path "$dir/log/audit" \
        --kubelet-client-certificate "$pki/admin.crt" --kubelet-client-key "$pki/admin.key" \
        --kubelet-certificate-authority "$pki/ca.crt" --kubelet-preferred-address-types InternalIP \
        >"$dir/log/kube-apiserver" 2>&1 &
    containerd --config "$dir/containerd.toml" >"$dir/log/containerd" 2>&1 &
    until ctr -a "$run/containerd.sock" version >/dev/null 2>&1; do sleep 0.1; done
    for image in "$dir"/image-*.tar; do
        ctr -a "$run/containerd.sock" -n k8s.io images import "$image" >>"$dir/log/images" 2>&1
    done
    until curl -ksf "https://127.0.0.1:$api/readyz" >/dev/null; do sleep 0.1; done
    "$program" kube-controller-manager --kubeconfig "$dir/admin.kubeconfig" --secure-port 0 --leader-elect=false \
        --service-account-private-key-file "$pki/accounts.key" --root-ca-file "$pki/ca.crt" \
        --use-service-account-credentials --enable-hostpath-provisioner \
        ${GNOMON_NODE_GRACE:+--node-monitor-grace-period "$GNOMON_NODE_GRACE"} \
        >"$dir/log/kube-controller-manager" 2>&1 &
    "$program" kube-scheduler --kubeconfig "$dir/admin.kubeconfig" --secure-port 0 --leader-elect=false \
        >"$dir/log/kube-scheduler" 2>&1 &
    "$program" kubelet --config "$dir/kubelet.yaml" --kubeconfig "$dir/node.kubeconfig" --node-ip "$node_ip" \
        --hostname-override node-1 --root-dir "$dir/kubelet" >"$dir/log/kubelet" 2>&1 &
    trap 'exit 0' TERM
    while :; do wait; sleep 1; done
}

names() {
    pki=$dir/pki run=/run/gnomon-kubernetes
    api=$(cat "$dir/port") net=10.$((100 + api % 100)).$((api / 100 % 250)) bridge=gnk$api
    node_ip=$net.1
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
    program=$(sh "$here/build.sh")
    stop
    mkdir -p "$dir"
    echo $((21000 + $$ % 900 * 10)) >"$dir/port"
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
    until takes_pods; do
        is_ours "$(cat "$dir/pid")" || fail "the box ended; see $dir/log"
        [ "$waited" -lt $((patience * 5)) ] || fail "the node is not ready in time; see $dir/log"
        sleep 0.2
        waited=$((waited + 1))
    done
    make api/v1/namespaces '{"metadata":{"name":"gnomon"}}'
    # Volumes are folders below /tmp/hostpath_pv.
    make apis/storage.k8s.io/v1/storageclasses '{"metadata":{"name":"folders",
        "annotations":{"storageclass.kubernetes.io/is-default-class":"true"}},"provisioner":"kubernetes.io/host-path"}'
    echo "KUBECONFIG=$dir/admin.kubeconfig"
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

# The node is ready, and the taint that it has before that is gone.
takes_pods() {
    node=$(curl -sf --cacert "$pki/ca.crt" --cert "$pki/admin.crt" --key "$pki/admin.key" \
        "https://127.0.0.1:$api/api/v1/nodes/node-1" 2>/dev/null | tr -d ' \n') || return 1
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
    rm -rf "$dir"
}

[ $# -ge 2 ] || fail "usage: $0 start DIR [PID] | agent DIR | apply DIR PATH | stop DIR"
command=$1
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
follow) follow "${3:?}" ;;
boot)
    program=$3
    names
    boot
    ;;
*) fail "usage: $0 start DIR [PID] | agent DIR | apply DIR PATH | stop DIR" ;;
esac
