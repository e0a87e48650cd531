#!/usr/bin/env bash
# run.sh SECONDS [TARGET…]: builds the fuzzer with the compiler's coverage counters, proves on a broken target that it finds faults, and
# shares the seconds out among the targets. Exit 0: no finding; 1: findings, in findings/; 4: no cargo.
set -euo pipefail
cd "$(dirname "$0")"

ALL_TARGETS="wire engine"
COUNTERS="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=3 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters"

main() {
    local seconds=$1 status=0 host fuzzer plain
    shift
    command -v cargo >/dev/null || { printf 'error: fuzzing needs cargo\nhelp: install Rust (rustup.rs, or your system'"'"'s packages)\n' >&2; exit 4; }
    [ $# -gt 0 ] || set -- $ALL_TARGETS
    host=$(rustc -vV | sed -n 's/^host: //p')
    RUSTFLAGS="$COUNTERS -Ccodegen-units=1" cargo build --quiet --locked --release --features coverage --target "$host" --target-dir target/coverage
    cargo build --quiet --locked --profile plain
    fuzzer=target/coverage/$host/release/cityhub-fuzz plain=target/plain/cityhub-fuzz
    "$fuzzer" control "$plain" | tail -n 1
    for target in "$@"; do
        "$fuzzer" run "$target" $((seconds / $#)) "$plain" || status=1
    done
    return $status
}

main "$@"
