//! What runs in a site: a script that starts the daemon and the agent again whenever they end, as
//! systemd would.

/// Starts the agent for ever. The file `hold` in its folder keeps it down, the file `clock` says
/// what time it is to believe.
pub(crate) const AGENT: &str = r#"
agent() {
    while :; do
        while [ -e "$FOLDER/hold" ]; do sleep 0.05; done
        if [ -e "$FOLDER/clock" ]; then
            LD_PRELOAD=$(ls /usr/lib/*/faketime/libfaketimeMT.so.1) FAKETIME="$(cat "$FOLDER/clock")" \
                FAKETIME_DONT_FAKE_MONOTONIC=1 DONT_FAKE_MONOTONIC=1 "$@" || true
        else
            "$@" || true
        fi
        sleep 0.1
    done
}
"#;

/// A site on host processes.
pub(crate) const HOST: &str = r#"
set -eu
agent "$@"
"#;

/// A site in a box: a fresh /run as after a boot, no disk but its own, the cable, the daemon.
pub(crate) const BOX: &str = r#"
set -eu
awk -v root="$ROOT/" -v own="$FOLDER/disk" \
    'index($2, root) == 1 && $2 != own { print $2 }' /proc/self/mounts |
    while read -r mount; do umount -l "$mount"; done
mount -t tmpfs tmpfs /run
ip link set lo up
until ip link show cable >/dev/null 2>&1; do sleep 0.02; done
ip addr add "$INSIDE/30" dev cable
ip link set cable up
daemon() {
    while :; do
        rm -f /run/docker.pid
        dockerd --data-root "$FOLDER/docker" --exec-root /run/docker --pidfile /run/docker.pid \
            --host "unix://$FOLDER/docker.sock" --bridge none --iptables=false --ip-masq=false \
            --containerd-namespace "$NODE" --containerd-plugins-namespace "$NODE-plugins" \
            >>"$FOLDER/dockerd.log" 2>&1 || true
        sleep 0.2
    done
}
daemon &
agent "$@"
"#;
