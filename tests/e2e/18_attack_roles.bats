# Who holds what: while a call runs, each process of the run is looked at through /proc and compared with the table
# of batch/sandbox/README.md.

load ../lib/common
load ../lib/attack

setup() {
    nj_setup
    skip_without namespaces
}
teardown() { nj_teardown; }

roles() { python3 -I "$NJ_ROOT/tests/lib/attack/roles.py" "$begun" "$@" >roles; }
# Once its payload runs a reaper gives up what it still has, which is the last to come.
running() { roles && grep -q '^payload ' roles && grep -q '^reaper .* caps=none' roles; }

# holds ROLE FIELD... - every process of that role shows all of them
holds() {
    local role=$1 field
    grep -q "^$role " roles || complain "no $role: $(<roles)"
    for field in "${@:2}"; do
        ! grep "^$role " roles | grep -vF -- "$field" >&2 || complain "$role lacks $field"
    done
}

@test "each process holds what its place needs, and no more" {
    job_one bash <<<'until [ -e end ]; do sleep 0.05; done'
    sed -i 's/timeout_seconds: 30/timeout_seconds: 600/' replies.yaml
    begin nightjar run job.yaml --run-dir run
    until_true 30 running
    [ "$(id -u)" -ne 0 ] || roles --fds
    if [ "$(id -u)" -eq 0 ]; then
        holds engine uid=self groups=0 caps=none nnp=1
        # Of the engine it is no copy: neither its libraries nor its environment are there.
        local helper
        helper=$(pgrep -P "$begun" -x nj-helper)
        for pid in $helper $(pgrep -P "$helper" -x nj-box); do
            ! grep -E 'lib(curl|ssl|archive|event)|/nightjar$' "/proc/$pid/maps" >&2 || complain "$pid has more code than boxes need"
        done
        ! tr '\0' '\n' <"/proc/$helper/environ" | grep -E '^(PATH|HOME|NJ_AS)=' >&2 || complain "the helper has the engine's environment"
        holds helper uid=root groups=0 caps=dac_override,fowner,kill,setgid,setuid,sys_admin nnp=1
        holds "\(supervisor\|init\|reaper\|payload\)" uid=own groups=0
        holds init " fds=null*3,pidfd*1,pipe*1,socket*2"
        holds reaper " fds=pipe*1,socket*1"
        # Standard error is for the last words of an assert; a pidfd, at D3, sees a task's end; the others are the files
        # of its box's cgroups.
        sed -n 's/^supervisor .* fds=//p' roles | tr , '\n' | sed 's/\*.*//' |
            grep -vxE 'seccomp notify|pidfd|fuse|cgroup|socket|pipe|null|stderr|folder|memfd|fanotify|inotify|unix|(memory|pids|cpu|cpuacct)\..*|cgroup\..*' >&2 &&
            complain "a supervisor holds more"
        [ "$(stat -c %u "/proc/$begun")" != 0 ] || [ "$(sed -n 's/^Uid:\t\([0-9]*\)\t.*/\1/p' "/proc/$begun/status")" != 0 ] ||
            complain "the engine is root"
    else
        holds engine caps=none
        holds helper caps=box:dac_override,box:fowner,box:kill,box:setgid,box:setuid,box:sys_admin nnp=1 dumpable=no
        holds "\(supervisor\|init\|reaper\|payload\)" uid=self
    fi
    holds supervisor nnp=1 seccomp=2 dumpable=no \
        caps=box:dac_override,box:dac_read_search,box:fowner,box:fsetid,box:kill,box:sys_ptrace
    holds init caps=box:sys_admin nnp=1 dumpable=no
    holds reaper caps=none nnp=1 dumpable=no
    holds payload caps=none nnp=1 seccomp=2
    [ "$(grep -c '^supervisor ' roles)" -eq 1 ] && [ "$(grep -c '^init ' roles)" -eq 1 ]
    kill -TERM "$begun"
    ended 4
}

@test "each live box has a host uid of its own" {
    skip_without root
    SESSIONS=3
    job_many 3
    sed -i 's/code: "mkdir -p out;/code: "mkdir -p out; until [ -e end ]; do sleep 1; done;/; s/timeout_seconds: 30/timeout_seconds: 700/' replies.yaml
    sed -i 's/^limits: {/limits: {tool_calls: 3, /' job.yaml
    begin nightjar run job.yaml --run-dir run
    three() { uids && [ "$(wc -l <found)" -eq 3 ]; }
    uids() {
        local pid
        for pid in $(grep -lsx nj-box /proc/[0-9]*/comm | cut -d/ -f3); do
            helper=$(awk '{ print $4 }' "/proc/$pid/stat") || continue
            [ "$(awk '{ print $4 }' "/proc/$helper/stat")" = "$begun" ] || continue
            awk '/^Uid:/ { print $2 }' "/proc/$pid/status"
        done | sort -u >found
    }
    until_true 30 three
    kill -TERM "$begun"
    ended 4
}
