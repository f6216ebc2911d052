#!/bin/sh
# Makes the images gnomon-demo:1 and gnomon-demo:2 in the daemon that DOCKER_HOST names, from
# scratch and Debian's static busybox. They differ in the text of /version, and need no registry.
#
#   image.sh [NAME]     another name than gnomon-demo
set -eu

name=${1:-gnomon-demo}

fail() {
    echo "$0: $*" >&2
    exit 1
}

busybox=$(command -v busybox) || busybox=
for program in docker "${busybox:-busybox}"; do
    command -v "$program" >/dev/null 2>&1 ||
        fail "$program is missing; run: apt-get install -y docker.io busybox-static"
done
"$busybox" --list | grep -qx httpd ||
    fail "$busybox has no httpd; run: apt-get install -y busybox-static"
if ldd "$busybox" >/dev/null 2>&1; then
    fail "$busybox is not static; run: apt-get install -y busybox-static"
fi

root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
mkdir -p "$root/bin" "$root/etc" "$root/tmp" "$root/www"
cp "$busybox" "$root/bin/busybox"
for applet in $("$busybox" --list); do
    [ "$applet" = busybox ] || ln -sf busybox "$root/bin/$applet"
done
chmod 1777 "$root/tmp"
echo 'root:x:0:0:root:/:/bin/sh' >"$root/etc/passwd"
echo 'root:x:0:' >"$root/etc/group"

for version in 1 2; do
    echo "$version" >"$root/version"
    echo "gnomon-demo $version" >"$root/www/index.html"
    tar -C "$root" --numeric-owner --owner 0 --group 0 -c . |
        docker import --change 'ENV PATH=/bin' --change 'CMD ["httpd","-f","-p","8080","-h","/www"]' \
            - "$name:$version" >/dev/null
    echo "$name:$version"
done
