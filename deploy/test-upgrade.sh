#!/usr/bin/env bash
# Upgrades a running federation from another version to this one, process by process, with jobs under way.
#
#   deploy/test-upgrade.sh REV       REV: a tag or commit, such as v0.1.0
#
# REV is built in a work tree of its own below the target directory, which a second run finds again.
set -euo pipefail
cd "$(dirname "$0")/.."

rev=${1:?usage: deploy/test-upgrade.sh REV}
commit=$(git rev-parse --verify "$rev^{commit}")
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
tree=$target/upgrade/$commit

if [ ! -x "$target/upgrade/foa-$commit" ]; then
  git worktree prune
  [ -d "$tree" ] || git worktree add --detach "$tree" "$commit"
  cargo build --locked --manifest-path "$tree/Cargo.toml" -p foa-node --bin foa --target-dir "$target/upgrade/target"
  cp "$target/upgrade/target/debug/foa" "$target/upgrade/foa-$commit"
  git worktree remove --force "$tree"
fi

FOA_PREVIOUS=$target/upgrade/foa-$commit \
  cargo test --locked -p federation-tests --test live rolling -- --nocapture
