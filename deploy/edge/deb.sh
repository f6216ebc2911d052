#!/bin/sh
# Makes the Debian package of the site agent and prints its path.
#
#   deb.sh [PROGRAM]     packs this program instead of building one
#
# DEB_COMPRESSION (xz) and DEB_FOLDER (target/deb) may say otherwise.
set -eu
cd "$(dirname "$0")/../.."

program=${1:-}
[ -n "$program" ] || program=$(sh deploy/edge/build.sh)
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
architecture=$(dpkg --print-architecture)
out=${DEB_FOLDER:-target/deb}
package=$out/gnomon-edge_${version}_$architecture.deb
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT

install -D -m 755 "$program" "$root/usr/bin/gnomon-edge"
install -D -m 644 edge-runtime/gnomon-edge.example.toml "$root/etc/gnomon-edge/gnomon-edge.toml"
install -D -m 644 deploy/edge/gnomon-edge.service "$root/lib/systemd/system/gnomon-edge.service"
install -D -m 644 LICENSE "$root/usr/share/doc/gnomon-edge/copyright"
install -d -m 700 "$root/var/lib/gnomon-edge"
chmod 755 "$root"
size=$(du -sk "$root" | cut -f 1)
install -d -m 755 "$root/DEBIAN"
install -m 644 deploy/edge/debian/conffiles "$root/DEBIAN/conffiles"
install -m 755 deploy/edge/debian/postinst deploy/edge/debian/prerm deploy/edge/debian/postrm \
    "$root/DEBIAN/"
sed -e "s/@VERSION@/$version/" -e "s/@ARCHITECTURE@/$architecture/" -e "s/@SIZE@/$size/" \
    deploy/edge/debian/control >"$root/DEBIAN/control"
mkdir -p "$out"
dpkg-deb --root-owner-group "-Z${DEB_COMPRESSION:-xz}" --build "$root" "$package" >&2
echo "$package"
