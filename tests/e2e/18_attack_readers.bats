# Who reads a bundle or another's run, which may be hostile, holds nothing that reading does not take: each command of
# nightjar-replay, `status`, `bundle` and `plan --reuse` are held up half-way and looked at through /proc. What such a
# process can still do is tried by the unit test of confine.

load ../lib/common

setup() {
    nj_setup
    skip_without namespaces
}
teardown() { nj_teardown; }

# rightless PID [RIGHTS] - no rights (or those, in hexadecimal digits), no way to new ones, filters
rightless() {
    local status
    status=$(<"/proc/$1/status")
    grep -qxE 'NoNewPrivs:\s1' <<<"$status" && grep -qxE 'Seccomp:\s2' <<<"$status" &&
        [ "$(grep -cE "^Cap(Inh|Prm|Eff|Amb):\s0*(0|${2-0})\$" <<<"$status")" -eq 4 ] || complain "$status"
}

# confined PID FILTERS - the reading process: besides, no network of the host
confined() {
    local status
    rightless "$1"
    status=$(<"/proc/$1/status")
    if [ "$(id -u)" -eq 0 ]; then
        [ "${2-}" = keeps-user ] || ! grep -qE '^Uid:.*\b0\b' <<<"$status" || complain "$status"
        [ "$(readlink "/proc/$1/ns/net")" != "$(readlink /proc/self/ns/net)" ] || complain "in the host's network"
    fi
}

# waiting PID - it sleeps in a write to the pipe that nobody reads
waiting() { grep -q '^State:	S' "/proc/$1/status" && grep -q '^Seccomp:	2' "/proc/$1/status"; }

# held COMMAND... - in the background, its output in a pipe that is not read until `let_go`
held() {
    mkfifo pipe
    exec 7<>pipe
    setsid "$@" >pipe 2>err </dev/null 3>&- 7>&- &
    begun=$!
    nj_started+=("$begun")
    until_true 10 waiting "$begun"
}
let_go() {
    cat <pipe >out.raw 7>&- &
    exec 7>&-
    wait "$begun" || complain "exit status $?: $(<err)"
    rm pipe
}

# landlock VERSION - the kernel has it: 1 to read, 2 to write
landlock() { python3 -I -c 'import ctypes, sys; sys.exit(ctypes.CDLL(None).syscall(444, None, 0, 1) < int(sys.argv[1]))' "$1"; }

record() {
    job_one bash <<<'seq 200000 >big; mkdir d; echo x >d/y'
    expect 0 nightjar run job.yaml --run-dir run
    bundle=$(echo run/bundles/*.njb)
}

@test "cat and show of a bundle or a run are confined before they parse" {
    record
    for from in "$bundle" run:one; do
        held nightjar-replay cat "$from" /workspace/big
        confined "$begun"
        let_go
        same "$(sha256sum <out.raw)" "$(seq 200000 | sha256sum)"
    done
    held nightjar-replay cat "$bundle" /workspace/big
    # Of files it has its bundle, its pipes and what it may spool: nothing else was opened.
    if [ "$(id -u)" -eq 0 ]; then
        ls -l "/proc/$begun/fd" | sed -n 's/.* -> //p' | { ! grep -vxE "$PWD/(pipe|err|$bundle)|/dev/null|.*/#[0-9]+ \(deleted\)|.*/\.tmp-[0-9a-f]+ \(deleted\)"; } ||
            complain "more is open"
    fi
    let_go
}

@test "a checkout and a salvage name their target by a process that reads nothing" {
    record
    expect 0 nightjar-replay checkout "$bundle"
    [ "$(<one@3/workspace/d/y)" = x ]
    expect 1 nightjar-replay checkout "$bundle" /workspace/none --to none
    [ ! -e none ]
    head -c 3000 "$bundle" >cut.njb
    expect 2 nightjar-replay checkout cut.njb --to none
    [ ! -e none ]
    expect 0 nightjar-replay fsck --salvage saved.njb "$bundle"
    expect 0 nightjar-replay verify saved.njb
    expect 3 nightjar-replay fsck --salvage saved.njb "$bundle"
    has_err "saved.njb: File exists"
    expect 0 nightjar-replay fsck --salvage folder run
    [ -d folder ]
    # What was written belongs to the caller.
    [ "$(stat -c %u saved.njb folder one@3/workspace/d/y | sort -u)" = "$(id -u)" ]
    [ -z "$(find . -name '*.tmp-*')" ]
}

@test "verify confines itself beside its sandbox" {
    job_one bash <<<'sleep 3; echo done'
    expect 0 nightjar run job.yaml --run-dir run
    begin nightjar-replay verify run:one
    until_true 10 waiting "$begun"
    kill -STOP "$begun" # it must not end while it is looked at
    confined "$begun"
    kill -CONT "$begun"
    ended 0
}

@test "status confines itself before it reads a run" {
    DELAY_MS=600000 job_many 1
    begin nightjar run job.yaml --run-dir run
    until_true 20 test -e run/run.json
    begin nightjar status run --watch
    until_true 10 waiting "$begun"
    rightless "$begun"
    kill -INT "$begun"
    ended 0
    has_out "running"
}

# stuck COMMAND... - in the background until `let_go`: what it says does not fit into the pipe, with its work done
stuck() {
    mkfifo pipe
    exec 7<>pipe
    head -c 65536 /dev/zero >&7
    setsid "$@" >pipe 2>err </dev/null 3>&- 7>&- &
    begun=$!
    nj_started+=("$begun")
    until_true 10 waiting "$begun"
    # Root reads what another user's run has.
    if [ "$(id -u)" -eq 0 ]; then rightless "$begun" 4; else rightless "$begun"; fi
}

# led_out FILE - of the run, which becomes a link that leads out of it
led_out() {
    outside=$(mktemp -d)
    mv "run/$1" "$outside/file"
    ln -s "$outside/file" "run/$1"
}
led_in() { rm "run/$1" && mv "$outside/file" "run/$1" && rmdir "$outside"; }

@test "bundle reads its run confined, and nothing outside of it" {
    record
    stuck nightjar bundle run:one --output again.njb
    let_go
    cmp again.njb "$bundle"
    expect 3 nightjar bundle run:one --output none/again.njb
    landlock 2 || return 0
    led_out job.yaml
    expect 3 nightjar bundle run:one --output linked.njb
    has_err "job.yaml: Permission denied"
    [ ! -e linked.njb ]
    led_in job.yaml
}

@test "plan reads the run to be reused confined, and nothing outside of it" {
    record
    stuck nightjar plan job.yaml --reuse run
    let_go
    tr -d '\0' <out.raw >out.text
    grep -q 'reuse' out.text || complain "$(<out.text)"
    expect 2 nightjar plan job.yaml --reuse none
    landlock 1 || return 0
    led_out results.jsonl
    expect 2 nightjar plan job.yaml --reuse run
    has_err "it has no results.jsonl"
    led_in results.jsonl
}

@test "a file whose path escapes to a terminal is shown, listed and told escaped" {
    job_one bash <<'SH'
name=$'a\e]0;owned\a\e[2Jb'
echo x >"$name"; mkdir "d$name"; ln -s "$name" l; echo "$name"; printf '%s' "$name" >&2
exit 3
SH
    expect 0 nightjar run job.yaml --run-dir run
    esc() { LC_ALL=C grep -c $'[\x1b\x07]' "$@"; }
    expect 0 nightjar-replay show run:one@2
    [ "$(printf %s "$out" | esc)" -eq 0 ]
    has_out 'owned'
    expect 0 nightjar-replay show run:one
    [ "$(printf %s "$out" | esc)" -eq 0 ]
    expect 0 nightjar-replay ls -l run:one
    [ "$(printf %s "$out" | esc)" -eq 0 ]
    expect 0 nightjar-replay checkout run:one --to there
    [ "$(printf %s "$out$err" | esc)" -eq 0 ]
    [ "$(find there -name 'a*b' -type f | wc -l)" -eq 1 ]
    expect 2 nightjar-replay checkout run:one --to there
    expect 0 nightjar status run
    [ "$(printf %s "$out" | esc)" -eq 0 ]
    expect 0 nightjar report run
    for file in joblog.tsv results.jsonl report.html junit.xml trace.otlp.jsonl; do
        [ ! -e "run/$file" ] || [ "$(esc "run/$file")" -eq 0 ] || complain "run/$file"
    done
}
