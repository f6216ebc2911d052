#!/usr/bin/env bash
# Proves that the simulated world can fail: applies each deliberately wrong variant of the protocol
# to a copy of the sources, runs worlds until one breaks an invariant, and writes the table into
# docs/reliability.md. Fails if a variant survives, or if its patch does not apply.
#
#   simulators/mutants/run.sh [--seeds N] [--no-docs] [NAME...]
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
seeds=2000
docs=yes
names=()
while (($#)); do
  case $1 in
    --seeds) seeds=$2; shift 2 ;;
    --no-docs) docs=no; shift ;;
    -h | --help) sed -n '2,6s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit 0 ;;
    -*) echo "run.sh: unknown option $1; see --help" >&2; exit 2 ;;
    *) names+=("$1"); shift ;;
  esac
done

target=${CARGO_TARGET_DIR:-$root/target}
tree=$target/mutants/tree
export CARGO_TARGET_DIR=$target/mutants/build
mkdir -p "$tree" "$CARGO_TARGET_DIR"

# The copy lies at one place for all variants, and only files that differ are written, so that
# cargo builds again only what a variant changed.
refresh() {
  mirror "$root/schemas" "$tree/schemas"
  mirror "$root/sync" "$tree/sync"
  mirror "$root/simulators/src/world" "$tree/simulators/src/world"
  write "$tree/simulators/src/world.rs" <"$root/simulators/src/world.rs"
  write "$tree/simulators/mutants/runner.rs" <"$here/runner.rs"
  write "$tree/simulators/Cargo.toml" <"$here/runner.toml"
  write "$tree/simulators/src/lib.rs" <<<'//! The simulated world and nothing else.
#![allow(unused_imports, reason = "the world has neighbours that use it")]
pub mod world;'
  sed -e 's/^members = .*/members = ["schemas", "sync", "simulators"]/' \
    -e '/^\[profile/,$d' -e '/^\[workspace.lints/,$d' "$root/Cargo.toml" |
    write "$tree/Cargo.toml" '
[workspace.lints]
[profile.dev]
debug = false
opt-level = 1
[profile.dev.package."*"]
opt-level = 2'
  [[ -f $tree/Cargo.lock ]] || cp "$root/Cargo.lock" "$tree/Cargo.lock"
}

# Makes a folder equal to another one, without its tests.
mirror() {
  local from=$1 to=$2 file
  mkdir -p "$to"
  while IFS= read -r file; do
    cmp --quiet "$from/$file" "$to/$file" && continue
    mkdir -p "$(dirname "$to/$file")"
    cp "$from/$file" "$to/$file"
  done < <(cd "$from" && find . -type f -not -path './tests/*')
  while IFS= read -r file; do
    [[ -f $from/$file ]] || rm "$to/$file"
  done < <(cd "$to" && find . -type f)
}

# Writes what comes in, and then the second argument, unless the file holds that already.
write() {
  local new
  new=$(cat)${2-}
  mkdir -p "$(dirname "$1")"
  [[ -f $1 && $(<"$1") == "$new" ]] || printf '%s\n' "$new" >"$1"
}

build() {
  cargo build --quiet --manifest-path "$tree/Cargo.toml" -p gnomon-sim --bin runner
}

rows=()
failed=0
# Arguments: the name, what the variant does, and whether a world must catch it.
try() {
  local name=$1 what=$2 result kind seed invariant seen
  if ! build; then
    echo "run.sh: $name does not compile" >&2
    failed=1
    return
  fi
  result=$("$CARGO_TARGET_DIR/debug/runner" "$seeds")
  IFS=$'\t' read -r kind seed invariant seen <<<"$result"
  if [[ $kind == caught ]]; then
    echo "$name: caught by seed $seed, invariant $invariant: ${seen:0:200}"
    rows+=("| $name | $what | $invariant | $seed |")
  else
    echo "$name: NOT caught by $seeds seeds"
    rows+=("| $name | $what | **none** | more than $seeds |")
    [[ $name == "no change" ]] || failed=1
  fi
}

patches=("$here"/*.patch)
((${#names[@]})) && patches=("${names[@]/#/$here/}") && patches=("${patches[@]/%/.patch}")
refresh
build
if [[ $("$CARGO_TARGET_DIR/debug/runner" "$seeds") != missed* ]]; then
  echo "run.sh: the protocol as it is breaks an invariant; run gnomon-sim sim first" >&2
  exit 1
fi
for patch in "${patches[@]}"; do
  name=$(basename "$patch" .patch)
  refresh
  if ! patch --quiet --strip 1 --fuzz 0 --directory "$tree" --no-backup-if-mismatch <"$patch"; then
    echo "run.sh: $name no longer applies: make its patch anew" >&2
    failed=1
    continue
  fi
  try "$name" "$(head -n 1 "$patch")"
done

if [[ $docs == yes && ${#names[@]} -eq 0 ]]; then
  page=$root/docs/reliability.md
  table=$(printf '%s\n' "| variant | what is wrong in it | caught by invariant | seeds needed |" \
    "| --- | --- | --- | ---: |" "${rows[@]}")
  TABLE=$table perl -0pi -e \
    's/(<!-- mutants:begin -->\n).*?(<!-- mutants:end -->)/$1$ENV{TABLE}\n$2/s' "$page"
fi
exit "$failed"
