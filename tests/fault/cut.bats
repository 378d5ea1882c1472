# A journal cut at any byte: what is behind the last whole commit is gone, and the run goes on from there.
#
# NJ_FULL=1 cuts at every byte; without it at some twenty, of which eight lie at or just before the beginnings of frames:
# NJ_SEED=N takes others. The whole journal is no cut: it says that all is published, and the published files are gone.

load ../lib/common
load ../lib/fault

setup() {
    fault_setup
    cat >replies.yaml <<-'YAML'
	replies:
	  - {when: {turn: 1}, call: [{tool: code_execution, input: {language: bash, code: "mkdir out; echo x >out/x", timeout_seconds: 30}}]}
	  - {say: "done"}
	YAML
    printf '%s\n' 'nightjar: 1' 'job: cut' 'models:' '  worker: [{provider: script, script: replies.yaml}]' \
        'agents:' '  tester: {model: worker, tools: [{type: code_execution, languages: [bash]}]}' \
        'sessions:' '  - {name: one, agent: tester, key: one, input: "Go.", outputs: [/workspace/out/**]}' >job.yaml
    undisturbed
    SEGMENT=$(basename "$(find plain/journal -name '*.njj')")
    SIZE=$(stat -c %s "plain/journal/$SEGMENT")
    SEED=${NJ_SEED:-5}
    RANDOM=$SEED
    echo "seed: NJ_SEED=$SEED" # shown when a case fails
}
teardown() { nj_teardown; }

# copied - run is plain before its end was published, whatever of it the journal will hold
copied() {
    rm -rf run
    cp -R plain run
    rm -rf run/results.jsonl run/run.json run/bundles run/outputs log
    mkdir -m 700 run/bundles run/outputs
    [ "$(id -u)" -ne 0 ] || chown --reference=plain run/bundles run/outputs
}

# goes_on - resume comes to plain's end without asking again what the journal still held
goes_on() {
    export NJ_SCRIPT_LOG=$PWD/log
    "$NJ_JOURNAL_EVENTS" run/journal >durable
    cp log-plain log # as it was when the journal was cut: everything had been delivered once
    cp log log-then
    export MAY_REPEAT=2 # what was durable once is cut off here: both replies may be lost
    nightjar resume run --quiet >resume.out 2>resume.err || complain "$1: resume failed: $(cat resume.err)" || return 1
    equal_end || complain "$1"
}

cut_at() {
    copied
    truncate -s "$1" "run/journal/$SEGMENT"
    goes_on "cut at byte $1 of $SIZE"
}

# frames - where they begin, as anybody can find them: by their magic
frames() {
    python3 -I - "plain/journal/$SEGMENT" <<-'PYTHON'
	import sys
	data = open(sys.argv[1], "rb").read()
	header = 64
	magic = data[header:header + 4]
	starts = [at for at in range(header, len(data), 8) if data[at:at + 4] == magic]
	print(*starts)
	PYTHON
}

@test "cut at bytes of the journal, the run comes to the same end" {
    local at starts
    [ "$SIZE" -gt 1000 ]
    if [ "${NJ_FULL:-0}" != 0 ]; then
        for ((at = 0; at < SIZE; at++)); do
            cut_at "$at"
        done
        return
    fi
    read -ra starts < <(frames)
    [ "${#starts[@]}" -gt 10 ] || complain "no frames were found"
    for at in 0 1 63 64 65 $((SIZE - 1)); do
        cut_at "$at"
    done
    for _ in 1 2 3 4 5 6 7 8; do
        at=${starts[RANDOM % ${#starts[@]}]}
        cut_at $((at - RANDOM % 2 * (RANDOM % 9)))
        cut_at $(((RANDOM * 32768 + RANDOM) % SIZE))
    done
}

# A torn write leaves any of its blocks behind: what is there of the last batch is garbage or zeros.
@test "a tail of garbage, of zeros and of an old batch is not taken for more" {
    local at
    read -ra starts < <(frames)
    at=${starts[${#starts[@]} / 2]}
    copied
    truncate -s "$at" "run/journal/$SEGMENT"
    head -c 3000 /dev/urandom >>"run/journal/$SEGMENT"
    goes_on "garbage behind byte $at"
    copied
    truncate -s "$at" "run/journal/$SEGMENT"
    truncate -s $((at + 100000)) "run/journal/$SEGMENT"
    goes_on "zeros behind byte $at"
    copied
    truncate -s "$at" "run/journal/$SEGMENT"
    head -c "$at" "plain/journal/$SEGMENT" | tail -c +65 >>"run/journal/$SEGMENT"
    run nightjar resume run --quiet
    # Frames that were written before lie behind the cut: commits that come twice are damage, never taken for whole.
    if [ "$status" -eq 0 ]; then
        facts run | diff facts-plain -
    else
        [ "$status" -eq 2 ] || complain "exit $status: $output"
    fi
}

@test "a byte that is wrong in the middle of the journal is refused by name, not cut off" {
    copied
    python3 -I - "run/journal/$SEGMENT" $((SIZE / 2)) <<-'PYTHON'
	import sys
	with open(sys.argv[1], "r+b") as file:
	    file.seek(int(sys.argv[2]))
	    byte = file.read(1)[0]
	    file.seek(int(sys.argv[2]))
	    file.write(bytes([byte ^ 0x40]))
	PYTHON
    cp "run/journal/$SEGMENT" before
    expect 2 nightjar resume run
    has_err "000001"
    has_err "offset"
    cmp before "run/journal/$SEGMENT"
}
