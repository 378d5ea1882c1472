# Limits: each ends in a tool result that names the limit and its figure; the session goes on, the engine
# stays well.

load ../lib/common

setup() {
    nj_setup
    skip_without namespaces
}
teardown() { nj_teardown; }

# told TEXT... - the result of the one session holds all of them
told() {
    local text got
    got=$(result one)
    for text; do
        [[ $got == *"$text"* ]] || { echo "the result lacks \"$text\": ${got:0:2000}" >&2; return 1; }
    done
}

@test "a call that takes too long is ended after its time" {
    CALL_TIMEOUT=1 job_one bash <<<'echo begun; trap "" TERM; while :; do sleep 1; done'
    before=$SECONDS
    expect 0 nightjar run job.yaml --run-dir run
    told begun timeout_seconds " 1"
    [ $((SECONDS - before)) -lt $((40 * NJ_SLOW)) ]
}

@test "the tool's own limit of time binds the agent's wish" {
    CALL_TIMEOUT=600 job_one bash <<<'sleep 600'
    sed -i 's/type: code_execution}/type: code_execution, timeout_seconds: 1}/' job.yaml
    expect 0 nightjar run job.yaml --run-dir run
    told timeout_seconds " 1"
}

@test "the session's tool time is limited as a whole" {
    job_one bash "max_runtime_seconds: 1" <<<'sleep 30; echo never'
    expect 0 nightjar run job.yaml --run-dir run
    told max_runtime_seconds " 1"
    [[ $(result one) != *never* ]]
}

@test "memory is limited, by name and figure" {
    job_one python "max_memory_mb: 128" <<'PYTHON'
import sys
print("begun", flush=True)
held = []
while len(held) < 1024:
    held.append(bytearray(b"x") * (1 << 20))
print("never")
PYTHON
    expect 0 nightjar run job.yaml --run-dir run
    told begun
    [[ $(result one) != *never* ]]
    [[ $(result one) == *"max_memory_mb of 128"* || $(result one) == *MemoryError* ]]
}

@test "memory of many small processes counts together" {
    job_one bash "max_memory_mb: 128, filesystem: {max_size_mb: 16}" <<'BASH'
for n in 1 2 3 4 5 6 7 8; do
    python3 -c 'import time; b = bytearray(b"x") * (48 << 20); time.sleep(4); print("kept", flush=True)' &
done
wait
BASH
    expect 0 nightjar run job.yaml --run-dir run
    [ "$(result one | grep -c '^kept$')" -lt 8 ]
}

@test "a full disk is ENOSPC at the figure, and the files before it stay" {
    job_one bash "filesystem: {max_size_mb: 8}" <<'BASH'
echo kept >kept
dd if=/dev/zero of=big bs=64k count=1000 2>&1 | grep -o 'No space left on device'
stat -c %s big
echo still here: "$(cat kept)"
BASH
    expect 0 nightjar run job.yaml --run-dir run
    told "No space left on device" "still here: kept"
    size=$(result one | grep -xE '[0-9]+')
    [ "$size" -gt $((6 << 20)) ] && [ "$size" -le $((8 << 20)) ]
}

@test "/tmp and /workspace share one size" {
    job_one bash "filesystem: {max_size_mb: 8}" <<'BASH'
dd if=/dev/zero of=/tmp/a bs=64k count=96 2>/dev/null
dd if=/dev/zero of=/workspace/b bs=64k count=96 2>&1 | grep -o 'No space left on device'
BASH
    expect 0 nightjar run job.yaml --run-dir run
    told "No space left on device"
}

@test "many empty files are limited too, and can be captured" {
    # Of each of 131,072 opens the supervisor is told.
    CALL_TIMEOUT=300 job_one bash "filesystem: {max_size_mb: 8}" <<'BASH'
python3 - <<'PYTHON'
import os
made = 0
try:
    for made in range(2000000):
        os.close(os.open(f"f{made}", os.O_CREAT | os.O_WRONLY))
except OSError as error:
    print(error.strerror, made > 100)
PYTHON
find . -name 'f*' -delete
BASH
    expect 0 nightjar run job.yaml --run-dir run
    told "No space left on device True"
}

@test "a sparse file costs what it holds, and a terabyte of nothing is no way round the limit" {
    job_one bash "filesystem: {max_size_mb: 8}" <<'BASH'
truncate -s 1T hole
rm hole
truncate -s 7M kept
stat -c %s kept
echo end
BASH
    before=$SECONDS
    expect 0 nightjar run job.yaml --run-dir run
    told 7340032 end
    [ $((SECONDS - before)) -lt $((60 * NJ_SLOW)) ]
    expect 0 nightjar-replay checkout run/bundles/*.njb out
    same "$(stat -c %s out/workspace/kept)" 7340032
    [ "$(stat -c %b out/workspace/kept)" -lt 64 ] || complain "a hole became $(stat -c %b out/workspace/kept) blocks"
}

@test "a fork bomb meets the limit, and the session goes on" {
    CALL_TIMEOUT=5 job_one bash "max_processes: 64" <<'BASH'
bomb() { bomb | bomb & }
bomb 2>/dev/null
sleep 1
echo alive
BASH
    before=$SECONDS
    expect 0 nightjar run job.yaml --run-dir run
    [ $((SECONDS - before)) -lt $((60 * NJ_SLOW)) ]
    same "$(row one 'r["steps"]')" 3
}

@test "processors are shared out: a box has no more of them than max_cpus" {
    job_one bash "max_cpus: 0.1" <<<'for n in 1 2; do while :; do :; done & done; sleep 2'
    expect 0 nightjar check --plan job.yaml
    kept=$(sed -n 's/^ *processors 0\.1: //p' <<<"$out")
    expect 0 nightjar check job.yaml
    [[ ${out//[[:space:]]/} == *"256processes,0.1CPUs,"* ]]
    expect 0 nightjar run job.yaml --run-dir run
    # By the host's clocks: those within the box are its own.
    nightjar-replay show run:one@2 --json >step.json
    share=$(python3 -c 'import json; step = json.load(open("step.json")); print(step["cpu_ms"] / step["duration_ms"])')
    case $kept in
    # Two burn time, and a tenth of one processor is for both of them: what a period began with comes on top.
    "cgroup v"[12]) most=0.2 ;;
    "soft: begins on 1 of this host's CPUs") most=1.1 ;;
    *) echo "the plan says: $kept" >&2; false ;;
    esac
    awk -v share="$share" -v most="$most" 'BEGIN { exit !(share > 0 && share < most) }' || { echo "it had $share" >&2; false; }
}

@test "a flood of output keeps head and tail, and says what is missing" {
    job_one bash <<<'echo THE HEAD; yes 0123456789abcdef | head -c 50000000; echo THE TAIL'
    expect 0 nightjar run job.yaml --run-dir run
    told "THE HEAD" "THE TAIL"
    [ "$(result one | wc -c)" -lt 200000 ]
    [ "$(du -sb run | cut -f1)" -lt 5000000 ]
}

@test "output without an end of line, and binary output, are harmless" {
    job_one python <<<'import sys; sys.stdout.buffer.write(bytes(range(256)) * 10); sys.stderr.write("\x1b[31mred")'
    expect 0 nightjar run job.yaml --run-dir run
    python3 -I -c 'import json; [json.loads(l) for l in open("run/results.jsonl", encoding="utf-8")]'
    expect 0 nightjar-replay show "$(bundle one)"
    hasnt $'\x1b[31m'
}

@test "a child that keeps the pipe open does not hold up the call" {
    job_one bash <<<'(sleep 60; echo late) & echo now'
    before=$SECONDS
    expect 0 nightjar run job.yaml --run-dir run
    same "$(result one)" now
    [ $((SECONDS - before)) -lt 50 ]
}

@test "closed standard output, dead standard input: no hang" {
    job_one bash <<<'cat; exec >&- 2>&-; sleep 0.1; exit 3'
    expect 0 nightjar run job.yaml --run-dir run
    told "exit status 3"
}

@test "files nobody expects are captured or named, never followed" {
    job_one bash "" 'outputs: [/workspace/out/**]' <<'BASH'
mkdir -p out/deep
ln -s /etc/passwd out/link
ln -s ../../../../etc out/up
mkfifo out/fifo
printf x >"out/new
line"
printf x >"out/$(printf '\377\376')"
printf x >out/$(printf 'n%.0s' $(seq 255))
chmod 000 out/deep
ln out/link out/hard 2>/dev/null || true
echo done
BASH
    expect 0 nightjar run job.yaml --run-dir run
    told "done"
    [ -z "$(find run/outputs -type l -o -type p)" ] || [ -z "$(find run/outputs -type p)" ]
    ! grep -rqs "root:x:0" run/outputs
    # Made of what the agent left, and read by tools of people: links may stay links, but must not be followed.
    same "$(find run/outputs -xtype f -lname '/*' | wc -l)" "$(find run/outputs -type l -lname '/etc/passwd' | wc -l)"
}

# evictions RUN WORDS - how often a box was let go of so
evictions() {
    local n
    for n in $(sed -n 's/^{"key": *"\([0-9]*\)".*/\1/p' "$1/results.jsonl"); do nightjar-replay show "$1:$n"; done | grep -c "$2" || :
}

# meminfo KB - so much of 1000 is available, to whoever runs with NJ_TEST_MEMINFO
meminfo() { printf 'MemTotal: 1000 kB\nMemAvailable: %d kB\n' "$1" >meminfo.next && mv meminfo.next meminfo; }

@test "each session that waits keeps its box, unless limits.warm_boxes says how many" {
    local few kept
    unset NJ_TEST_EVICT_ALWAYS
    meminfo 900
    export NJ_TEST_MEMINFO=$PWD/meminfo
    SESSIONS=6 job_many 6
    sed -i 's/^limits: {/limits: {tool_calls: 1, /' job.yaml
    grep -q 'tool_calls: 1, sessions: 6' job.yaml
    expect 0 nightjar check --plan job.yaml
    has_out "6 sessions alive, 1 tool call, 6 boxes kept"
    expect 0 nightjar run job.yaml --run-dir kept
    sed -i 's/^limits: {/limits: {warm_boxes: 2, /' job.yaml
    expect 0 nightjar check --plan job.yaml
    has_out "6 sessions alive, 1 tool call, 2 boxes kept"
    expect 0 nightjar run job.yaml --run-dir few
    kept=$(evictions kept "box evicted") few=$(evictions few "box evicted: least recently used")
    same "$kept" 0 "boxes let go of"
    [ "$few" -ge 1 ] || { echo "with two boxes for six sessions none was let go of" >&2; return 1; }
    diff <(facts kept) <(facts few)
}

@test "of more calls at once than limits.warm_boxes the boxes that are too many go, and memory is not said to be short" {
    unset NJ_TEST_EVICT_ALWAYS
    SESSIONS=4 job_many 4
    sed -i 's/^limits: {/limits: {tool_calls: 4, warm_boxes: 1, /' job.yaml
    sed -i '/turn: 2/,/delay_ms/s/delay_ms: 0/delay_ms: 3000/' replies.yaml
    expect 0 nightjar run job.yaml --run-dir run
    [ "$(evictions run "box evicted: least recently used")" -ge 3 ]
    same "$(evictions run "memory is short")" 0
}

# steps RUN COUNT - so many are done
steps() { [ "$(nightjar status "$1" --json | python3 -I -S -c 'import json, sys; print(json.load(sys.stdin)["report"]["sessions"]["steps"])')" -ge "$2" ]; }

@test "where memory gets short, boxes of sessions that wait are let go of, and the end is the same" {
    unset NJ_TEST_EVICT_ALWAYS
    SESSIONS=8 job_many 8
    sed -i 's/^limits: {/limits: {tool_calls: 1, /' job.yaml
    meminfo 900
    export NJ_TEST_MEMINFO=$PWD/meminfo
    expect 0 nightjar run job.yaml --run-dir kept
    # They wait long for their second reply; meanwhile memory gets short.
    sed -i '/turn: 2/,/delay_ms/s/delay_ms: 0/delay_ms: 6000/' replies.yaml
    begin nightjar run job.yaml --run-dir few
    until_true 20 steps few 16
    meminfo 100
    ended 0
    [ "$(evictions kept "box evicted")" -eq 0 ]
    [ "$(evictions few "box evicted: memory is short")" -ge 1 ]
    diff <(facts kept | grep ^row) <(facts few | grep ^row) # another script has other digests
}
