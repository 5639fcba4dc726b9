#!/usr/bin/env bash
# Installs what the tests need, each only if it is missing, and runs all of them. `./test.sh --help` names the steps.
set -euo pipefail
cd "$(dirname "$0")"

if [[ "${1:-}" == "--help" ]]; then
  echo "usage: ./test.sh [checks|rust|clients|bench]...   all of them when none is named"
  exit 0
fi
steps=("$@")
[[ ${#steps[@]} -gt 0 ]] || steps=(checks rust clients bench)

say() { printf '\n== %s (%s s)\n' "$*" "$SECONDS"; }

need_package() { # a command, and the Debian package that brings it
  command -v "$1" >/dev/null && return
  if ! command -v apt-get >/dev/null || [[ $EUID -ne 0 ]]; then
    echo "test.sh: $1 is missing: install it (on Debian: sudo apt-get install $2)" >&2
    exit 1
  fi
  apt-get -q update
  DEBIAN_FRONTEND=noninteractive apt-get -q install -y --no-install-recommends "$2"
}

need_package cc build-essential
# The store's tests start a server of their own; the package's programs are not on the path.
compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || need_package initdb postgresql
need_package python3 python3
command -v cargo-nextest >/dev/null || cargo install --locked cargo-nextest

built=
build() { # the programs, unless the Rust tests were built just now: that is the same with all of the tests' features
  [[ -n "$built" ]] || cargo build --locked -p doorward -p doorward-bench
  built=yes
}

for step in "${steps[@]}"; do
  case "$step" in
    checks)
      say "formatting, lints, repository checks"
      cargo fmt --all --check
      cargo clippy --workspace --all-targets --locked -- -D warnings
      cargo run -q --locked -p xtask
      ;;
    rust)
      say "Rust tests"
      # With all targets, so that the programs come out of the same build.
      cargo build --workspace --all-targets --locked
      built=yes
      cargo nextest run --workspace --locked --no-fail-fast
      say "documentation"
      RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked --quiet --exclude doorward-bench --exclude xtask
      ;;
    clients)
      say "real clients: installing"
      build
      python3 tests/e2e/install.py
      say "real clients"
      target/e2e/venv/bin/python -m pytest tests/e2e -q
      ;;
    bench)
      say "the benchmark still works (its figures mean nothing here)"
      build
      target/debug/doorward-bench run --smoke
      ;;
    *)
      echo "test.sh: there is no step $step; see ./test.sh --help" >&2
      exit 2
      ;;
  esac
done
say "everything passed"
