# A syscall fuzzer in a box: Debian's stress-ng runs each of its stressors, and then its senders of invalid calls, bad
# addresses and unknown numbers, as a call of a session. Nothing outside may look different afterwards, a session beside
# it goes on, and the box is a box after all of it.
#
# Two hours by its own plan, so it runs with NJ_FULL=1 only; NJ_STRESS_S is how long each stressor has (1 second unless set).

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
    nice
    taskset -p $$ | sed 's/.*mask//'
    python3 -I -c 'import time; print(round((time.clock_gettime(time.CLOCK_REALTIME) - time.clock_gettime(time.CLOCK_MONOTONIC)) / 5))'
    find /proc/sys/kernel /proc/sys/vm /proc/sys/fs /proc/sys/net/core /proc/sys/net/ipv4 -type f -readable 2>/dev/null |
        grep -vE 'random/|ns_last_pid|dentry-state|file-nr|inode-nr|inode-state|aio-nr|stat_refresh|max_pids|overflow' | sort |
        while read -r file; do echo "$file $(tr '\0' ' ' <"$file" 2>/dev/null)"; done
    find /etc /root /home -xdev -newer start 2>/dev/null || true
}

marked() { grep -lzxF "NJ_MARK=$mark" /proc/[0-9]*/environ 2>/dev/null; }

@test "a fuzzer of system calls in a box has no effect outside" {
    local each=${NJ_STRESS_S:-1} mark=$BATS_TEST_TMPDIR-$$ limit
    limit=$((each * 420 + 600))
    json >code <<-SH
	export NJ_MARK=$mark
	cd /tmp
	stress-ng --sequential 1 --timeout ${each}s --no-rand-seed --temp-path /tmp --stdout --metrics-brief >all.log 2>&1
	for fuzz in sysinval enosys sysbadaddr; do
	    stress-ng --\$fuzz 1 --pathological --timeout $((each * 30))s --stdout >\$fuzz.log 2>&1
	done
	echo "stressors: \$(grep -cE '(bogo ops|metrc).* [0-9]+ ' all.log)"
	SH
    {
        echo 'replies:'
        echo '  - when: {turn: 1, matches: fuzz}'
        echo "    call: [{tool: code_execution, input: {language: bash, code: $(<code), timeout_seconds: $limit}}]"
        echo '  - when: {turn: [1, 2, 3, 4, 5, 6], matches: beside}'
        echo "    delay_ms: $((each * 10000))"
        echo '    call: [{tool: code_execution, input: {language: bash, code: "echo beside", timeout_seconds: 60}}]'
        echo '  - when: {turn: 2}'
        echo '    call: [{tool: code_execution, input: {language: bash, code: "id -u; ls /tmp/*.log | wc -l; cat /tmp/all.log | tail -3", timeout_seconds: 60}}]'
        echo '  - say: "{last}"'
    } >replies.yaml
    cat >job.yaml <<-YAML
	nightjar: 1
	job: stress
	models: {worker: [{provider: script, script: replies.yaml}]}
	agents:
	  fuzzer:
	    model: worker
	    sandbox: {max_memory_mb: 512, max_runtime_seconds: $limit, filesystem: {max_size_mb: 128}}
	    tools: [{type: code_execution}]
	sessions:
	  - {name: fuzz, agent: fuzzer, key: fuzz, input: "fuzz"}
	  - {name: other, agent: fuzzer, key: other, input: "beside"}
	YAML
    touch start
    outside >before
    expect 0 nightjar run job.yaml --run-dir run
    outside >after
    diff before after >&2 || complain "something outside has changed"
    [ -z "$(marked)" ] || complain "a process is left: $(marked)"
    same "$(row other 'r["result"]')" beside
    expect 0 nightjar-replay show run:fuzz
    echo "# $(row fuzz 'r["result"]')" | head -5 >&3
    has "stressors: "
    # As many as this machine's stress-ng has: most of them run, each for its time, or are refused and skipped.
    [ "$(grep -oE 'stressors: [0-9]+' <<<"$out" | head -1 | tr -dc 0-9)" -gt 100 ] || complain "the fuzzer hardly ran"
}
