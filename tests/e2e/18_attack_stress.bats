# A syscall fuzzer in a box: Debian's stress-ng runs each of its stressors, and then its senders of invalid calls, bad
# addresses and unknown numbers, as calls of one session. Nothing outside may look different afterwards, a session beside
# it goes on, and the box is a box after all of it.
#
# Long, so it runs with NJ_FULL=1 only, for NJ_STRESS_MINUTES (7 unless set), which its some 300 stressors share evenly and the
# senders thirtyfold. Starting and ending them comes on top, and many are refused at their beginning: 120 came to 80. In one command:
#
#   NJ_FULL=1 NJ_STRESS_MINUTES=120 NJ_AS=root NJ_PRESET=release bats tests/e2e/18_attack_stress.bats
#
# Behind `unshare --mount --propagation private` where others mount and unmount on the same host meanwhile: the host's
# mounts are compared, too.

load ../lib/common

setup() {
    nj_setup
    skip_without namespaces
    [ "${NJ_FULL-}" = 1 ] || skip "long: NJ_FULL=1 runs it"
    command -v stress-ng >/dev/null || skip "no stress-ng"
}
teardown() { nj_teardown; }

# What the fuzzer would change if it could: mounts, clock, names, settings, modules, devices, interfaces, limits of ours.
outside() {
    local file
    cat /proc/self/mountinfo /proc/sys/kernel/tainted
    [ ! -e /proc/modules ] || cat /proc/modules
    hostname
    ls -l /dev | awk '{ print $1, $3, $4, $NF }'
    ls /sys/class/net
    ulimit -a
    taskset -p $$ | sed 's/.*mask//'
    python3 -I -c 'import time; print(round((time.clock_gettime(time.CLOCK_REALTIME) - time.clock_gettime(time.CLOCK_MONOTONIC)) / 5))'
    find /proc/sys/kernel /proc/sys/vm /proc/sys/fs /proc/sys/net/core /proc/sys/net/ipv4 -type f -readable 2>/dev/null |
        grep -vE 'random/|ns_last_pid|dentry-state|file-nr|inode-nr|inode-state|aio-nr|pty/nr|stat_refresh|max_pids|overflow|quota/' | sort |
        while read -r file; do echo "$file $(tr '\0' ' ' <"$file" 2>/dev/null)"; done
    find /etc /usr /opt -xdev -newer start 2>/dev/null || true
}

marked() { grep -lzxF "NJ_MARK=$mark" /proc/[0-9]*/environ 2>/dev/null; }

# call COMMAND - the next turn of the fuzzing session
call() {
    printf '  - when: {turn: %d, agent: fuzzer}\n    call: [{tool: code_execution, input: {language: bash, code: %s, timeout_seconds: %d}}]\n' \
        "$turn" "$(json <<<"export NJ_MARK=$mark; cd /tmp; $1")" $((each * 60 + 200))
}

@test "a fuzzer of system calls in a box has no effect outside" {
    local each mark=$BATS_TEST_TMPDIR-$$ turn=0 ran
    local -a names group
    read -ra names <<<"$(stress-ng --stressors)"
    [ "${#names[@]}" -gt 100 ] || complain "stress-ng has only ${#names[@]} stressors"
    each=$((${NJ_STRESS_MINUTES:-7} * 60 / (${#names[@]} + 3 * 30)))
    [ "$each" -gt 0 ] || each=1
    {
        echo 'replies:'
        echo '  - when: {turn: [1, 2, 3, 4, 5, 6], agent: other}'
        echo "    delay_ms: $((each * 10000))"
        echo '    call: [{tool: code_execution, input: {language: bash, code: "echo beside", timeout_seconds: 60}}]'
        # A call that a limit ends takes its group along, so groups are small.
        while [ "${#names[@]}" -gt 0 ]; do
            group=("${names[@]:0:8}") names=("${names[@]:8}") turn=$((turn + 1))
            call "for name in ${group[*]}; do echo \"did \$name\"; timeout -k 5 $((each * 5 + 10)) stress-ng --\$name 1 --pathological --timeout ${each}s --no-rand-seed --temp-path /tmp --stdout | tail -1; done"
        done
        for name in sysinval enosys sysbadaddr; do
            turn=$((turn + 1))
            call "timeout -k 5 $((each * 40 + 20)) stress-ng --$name 1 --pathological --timeout $((each * 30))s --temp-path /tmp --stdout"
        done
        turn=$((turn + 1))
        call "echo still a box: \$(id -u) \$(ls /proc | grep -c '^[0-9]')"
        echo '  - say: "{last}"'
    } >replies.yaml
    cat >job.yaml <<-YAML
	nightjar: 1
	job: stress
	models: {worker: [{provider: script, script: replies.yaml}]}
	agents:
	  fuzzer:
	    model: worker
	    sandbox: {max_memory_mb: 1024, max_runtime_seconds: 14000, filesystem: {max_size_mb: 128}}
	    tools: [{type: code_execution}]
	  other: {model: worker, tools: [{type: code_execution}]}
	sessions:
	  - {name: fuzz, agent: fuzzer, key: fuzz, input: "fuzz"}
	  - {name: other, agent: other, key: other, input: "beside"}
	YAML
    touch start
    outside >before
    expect 0 nightjar run job.yaml --run-dir run
    cp "$BATS_TEST_TMPDIR/err" "$BATS_TEST_TMPDIR/err.run"
    outside >after
    diff before after >&2 || complain "something outside has changed"
    [ -z "$(marked)" ] || complain "a process is left: $(marked)"
    same "$(row other 'r["result"]')" beside
    [[ $(row fuzz 'r["result"]') == "still a box: 1000 "* ]] || complain "$(row fuzz 'r["result"]')"
    expect 0 nightjar-replay show run:fuzz --json
    # Most of them ran: some are refused what they are about at their beginning, some meet a limit.
    ran=$(for ((i = 1; i <= turn; i++)); do nightjar-replay show "run:fuzz@$((2 * i))"; done | grep -cE '^ +did ')
    echo "# $ran stressors began, $turn calls; limits met: $(grep -A9 '^  limits' "$BATS_TEST_TMPDIR/err.run" | head -1)" >&3
    [ "$ran" -gt 200 ] || complain "the fuzzer hardly ran: $ran"
}
