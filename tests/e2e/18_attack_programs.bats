# The filter is neither loose (18_attack) nor lame: real programs do a piece of their work in a box. And `nightjar check
# --plan` says why each family of calls is there.

load ../lib/common
load ../lib/attack

setup_file() { attack_build; }
setup() {
    nj_setup
    skip_without namespaces
}
teardown() { nj_teardown; }

@test "python, node, compilers, git, sqlite, tar, perl, shells, make and strace work under the filter" {
    ATTACK_LEVELS=D2 ATTACK_SANDBOX="max_memory_mb: 4096" attack "bash /attack/programs.sh"
    matches programs
}

@test "the plan prints every family of calls with its reason, and what a refusal answers" {
    job_one bash <<<true
    expect 0 nightjar check --plan job.yaml
    out=$(tr -s ' \n' ' ' <<<"$out") # however it was wrapped
    has_out "allow files (the workspace and the read-only system): read write"
    has_out "EPERM mounts (the plan alone decides what is mounted): mount umount"
    has_out "ENOSYS (not implemented): clone3, io_uring"
    has_out "mknod and mknodat of files, FIFOs and sockets (else EPERM)"
}
