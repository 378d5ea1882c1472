# 64 attackers at once, each in its box with all that it is given, while other sessions go on: every attack ends at a limit
# that is named, nobody beside it fails, and the engine still comes to what is due (run.json: loop_late_ms, 99 of 100 events).
#
# Long and heavy: with NJ_FULL=1 only. NJ_ATTACKERS is how many there are, ATTACK_LEVEL at which level (D2 unless set).

load ../lib/common
load ../lib/attack

setup() {
    nj_setup
    skip_without namespaces
    [ "${NJ_FULL-}" = 1 ] || skip "long: NJ_FULL=1 runs it"
}
teardown() { nj_teardown; }

@test "64 attackers at once end at their limits, and the engine's events are late by less than 50 ms" {
    local n=${NJ_ATTACKERS:-64} each kinds=6 values= kind i late busy
    busy=$(python3 -I -c 'import os; print(int(os.getloadavg()[0] > os.cpu_count()))')
    each=$(((n + kinds - 1) / kinds))
    for kind in forks memory output files spin disk; do
        for ((i = 1; i <= each; i++)); do
            values+="{kind: $kind, n: $i}, "
        done
    done
    cat >attack.py <<'PY'
import os, signal, sys
over = False
def ring(number, frame):
    global over
    over = True
signal.signal(signal.SIGALRM, ring)
signal.alarm(15)             # of the host's time, unlike the box's clocks; a child has none, and ends with the call
kind = sys.argv[1]
seen = set()
def refused(error):
    seen.add(error.strerror or str(error))
if kind == "forks":          # children that beget children, as many as there may be
    while not over:
        try:
            os.fork()
        except OSError as error:
            refused(error)
elif kind == "memory":
    held = []
    while not over:
        try:
            held.append(bytearray(os.urandom(1 << 20)))
        except MemoryError:
            seen.add("MemoryError"); held.clear()
elif kind == "output":
    line = b"x" * 65536
    while not over:
        os.write(1, line)
elif kind == "files":        # descriptors, and the sockets behind them
    import socket
    held = []
    while not over:
        try:
            held.append(socket.socketpair())
        except OSError as error:
            refused(error); held.clear()
elif kind == "spin":
    for _ in range(3):
        if os.fork() == 0:
            break
    while not over:
        pass
elif kind == "disk":
    number = 0
    while not over:
        try:
            number += 1
            with open(f"/workspace/{number}", "wb") as file:
                file.write(b"y" * 100000)
        except OSError as error:
            refused(error); number = 0
print("ended:", kind, sorted(seen))
PY
    cat >replies.yaml <<'YAML'
replies:
  - when: {turn: 1, matches: "^attack$"}
    call: [{tool: code_execution, input: {language: bash, code: "exec python3 -I /attack/attack.py {item.kind} 2>&1", timeout_seconds: 120}}]
  - when: {turn: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10], matches: "beside"}
    delay_ms: 500
    call: [{tool: code_execution, input: {language: bash, code: "echo beside", timeout_seconds: 120}}]
  - say: "{last}"
YAML
    ATTACK_SANDBOX="max_memory_mb: 64, filesystem: {max_size_mb: 16}" attack_manifest >job.yaml
    cat >>job.yaml <<YAML
sessions:
  - {name: attackers, agent: attacker, key: "{item.kind}-{item.n}", for_each: {values: [${values%, }]}, input: "attack"}
  - {name: others, agent: attacker, key: "other-{item.n}", for_each: {values: [{n: 1}, {n: 2}, {n: 3}, {n: 4}, {n: 5}, {n: 6}, {n: 7}, {n: 8}]}, input: "beside"}
limits: {sessions: 200, tool_calls: 200, warm_boxes: 200}
YAML
    mkdir attack && mv attack.py attack/
    expect 0 nightjar run job.yaml --run-dir run --quiet
    late=$(python3 -I -c 'import json; print(json.load(open("run/run.json"))["loop_late_ms"])')
    python3 -I - <<'PY'
import json, collections
rows = [json.loads(line) for line in open("run/results.jsonl", encoding="utf-8")]
ends = collections.Counter()
for row in rows:
    kind = row["key"].rsplit("-", 1)[0]
    text = str(row["result"])
    if kind == "other":
        assert text.strip() == "beside", row
    else:
        assert "ended: " + kind in text or "limit" in text, row
        ends[kind, "its own end" if "ended: " + kind in text else "a limit"] += 1
print(dict(ends))
PY
    echo "# $((each * kinds)) attackers: 99 of 100 events at most $late ms late" >&3
    # On a machine that was busy before, the figure is its own and is only told.
    [ "$busy" -eq 1 ] || [ "$late" -lt $((50 * NJ_SLOW)) ] || complain "events were late by $late ms"
}
