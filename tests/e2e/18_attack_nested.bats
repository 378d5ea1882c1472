# Nightjar inside of what containers are made of: it works there, or says by the words of `doctor` what is missing and how
# to get it. Never a weaker box in silence.

load ../lib/common

setup() {
    nj_setup
    skip_without namespaces
    job_one bash <<<'set -- /proc/[0-9]*; echo uid $(id -u), processes $#'
}
teardown() { nj_teardown; }

# works WRAPPER... - a run, and a replay of it, in there
works() {
    rm -rf run
    expect 0 "$@" nightjar run job.yaml --run-dir run --quiet
    [[ $(row one 'r["result"]') == "uid 1000, processes "[2-3] ]] || complain "$(row one 'r["result"]')"
    expect 0 "$@" nightjar-replay verify run:one
}

# refused WORDS WRAPPER... - exit 3, and the words stand in the run's message and in doctor's
refused() {
    rm -rf run
    expect 3 "${@:2}" nightjar run job.yaml --run-dir run --quiet
    has_err "$1"
    has_err "Cure: "
    expect 3 "${@:2}" nightjar doctor
    [[ $(tr -s ' \n' ' ' <<<"$out") == *"$1"* ]] || complain "doctor does not say: $1"
}

@test "in namespaces of pids, mounts and networks it works" {
    if [ "$(id -u)" -eq 0 ]; then
        works unshare --pid --mount --net --ipc --uts --fork --mount-proc
    else
        works unshare --user --map-current-user --pid --mount --net --fork --mount-proc
        works unshare --user --map-current-user unshare --user --map-current-user
    fi
}

@test "where it is root without another user it says so" {
    refused "here is nobody else it could become" unshare --user --map-root-user --pid --fork --mount-proc
}

@test "a root without rights is named the one that is missing" {
    skip_without root
    refused "this root lacks CAP_SYS_ADMIN" setpriv --bounding-set -sys_admin
    refused "this root lacks CAP_KILL" setpriv --bounding-set -kill
}
