#!/bin/sh
# Makes the image of gnomon-cloud in the daemon that DOCKER_HOST names, from scratch; no registry is
# asked.
#
#   image.sh [NAME]         the image's name, gnomon-cloud by default
#
# GNOMON_CLOUD names the program. Without it a static one is built (needs the target
# x86_64-unknown-linux-musl of rustup, and musl-tools). One that is not static gets the libraries
# of this machine that it names.
set -eu
cd "$(dirname "$0")/.."

name=${1:-gnomon-cloud}
target=x86_64-unknown-linux-musl

fail() {
    echo "$0: $*" >&2
    exit 1
}

command -v docker >/dev/null 2>&1 || fail "docker is missing; run: apt-get install -y docker.io"
if [ -n "${GNOMON_CLOUD:-}" ]; then
    program=$GNOMON_CLOUD
else
    command -v musl-gcc >/dev/null 2>&1 || fail "musl-gcc is missing; run: apt-get install -y musl-tools"
    cargo build --locked --release --package gnomon-cloud --target "$target"
    program=${CARGO_TARGET_DIR:-target}/$target/release/gnomon-cloud
fi
[ -x "$program" ] || fail "$program is not a program"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/root
mkdir -p "$root/usr/bin" "$root/etc" "$root/tmp"
cp "$program" "$root/usr/bin/gnomon-cloud"
chmod 0755 "$root/usr/bin/gnomon-cloud"
strip "$root/usr/bin/gnomon-cloud" 2>/dev/null || true
# Lines of ldd: NAME => PATH (ADDRESS), and PATH (ADDRESS) of the loader. A static program has none.
ldd "$program" 2>/dev/null | awk '$2 == "=>" { print $3 } $1 ~ /^\// { print $1 }' |
    while read -r library; do
        mkdir -p "$root$(dirname "$library")"
        cp -L "$library" "$root$library"
    done
echo 'gnomon-cloud:x:65532:65532::/var/lib/gnomon-cloud:/sbin/nologin' >"$root/etc/passwd"
echo 'gnomon-cloud:x:65532:' >"$root/etc/group"
chmod 1777 "$root/tmp"

mkdir -p "$work/data/var/lib/gnomon-cloud" "$work/context"
chmod 0700 "$work/data/var/lib/gnomon-cloud"
tar -C "$root" --numeric-owner --owner 0 --group 0 -cf "$work/context/root.tar" .
tar -C "$work/data" --numeric-owner --owner 65532 --group 65532 \
    -rf "$work/context/root.tar" var/lib/gnomon-cloud
cp deploy/Dockerfile "$work/context/"
DOCKER_BUILDKIT=0 docker build --quiet --tag "$name" "$work/context" >/dev/null
echo "$name"
