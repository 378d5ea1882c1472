# Workloads of the reproducible layer, a few runs of some that claim to be equal at D1, quiet and with every processor busy.
# All of them, often and at each level: tests/run bench reproducible.

load ../lib/common

setup() {
    nj_setup
    skip_without namespaces
    skip_without fuse
}
teardown() { nj_teardown; }

@test "what claims to be equal at D1 is equal, also while the processors are busy, and another seed shows" {
    [ -x "$NJ_BUILD/bin/bench-reproducible" ] || skip "bench-reproducible is not built"
    local runs=2 names=(01_bash 16_c 61_calls 02_python 06_asyncio)
    [ "${NJ_FULL:-0}" = 0 ] || { runs=20; names=(01 02 06 07 09 11 16 21 54 57 61); }
    local files=()
    for name in "${names[@]}"; do
        files+=("$NJ_ROOT"/tests/bench/reproducible/"$name"*.sh)
    done
    expect 0 bench-reproducible --runs "$runs" --levels D1 --load both "${files[@]}"
    has " 0 failures"
    hasnt "not ok"
}
