# What a record can show, and what verify says of a sound one and of one that was bent.

load ../lib/common

setup() {
    nj_setup
    skip_without namespaces
    # One run serves all cases: they only read it.
    if [ ! -e "$BATS_FILE_TMPDIR/run" ]; then
        cat >replies.yaml <<-'YAML'
		replies:
		  - when: {turn: 1}
		    say: "I write two files."
		    call:
		      - {tool: code_execution, input: {language: bash, code: "echo first >a; mkdir d; echo deep >d/b; echo said-one"}}
		      - {tool: code_execution, input: {language: python, code: "open('a','a').write('second\\n'); print('said-two'); import sys; print('warned', file=sys.stderr)"}}
		  - when: {turn: 2}
		    call: [{tool: code_execution, input: {language: bash, code: "rm d/b; printf 'binary\\000\\377' >c; cat /mounted/x; exit 3"}}]
		  - say: "All done: {last}"
		YAML
        mkdir mounted && echo from-mount >mounted/x
        sed -e 's/sandbox: {}/sandbox: {mounts: [{source: mounted, target: \/mounted}]}/' >job.yaml <<-'YAML'
		nightjar: 1
		job: replayed
		models:
		  worker: [{provider: script, script: replies.yaml}]
		agents:
		  tester:
		    model: worker
		    sandbox: {}
		    tools: [{type: code_execution}]
		sessions:
		  - {name: one, agent: tester, key: one, input: "Go.", outputs: ["/workspace/a"]}
		YAML
        nightjar run job.yaml --run-dir "$BATS_FILE_TMPDIR/run" 2>"$BATS_TEST_TMPDIR/err" || { cat "$BATS_TEST_TMPDIR/err" >&2; return 1; }
        cp "$(bundle one "$BATS_FILE_TMPDIR/run")" "$BATS_FILE_TMPDIR/one.njb"
    fi
    RUN=$BATS_FILE_TMPDIR/run
    B=$BATS_FILE_TMPDIR/one.njb
}
teardown() { nj_teardown; }

# bend STATEMENT... - bent.njb is the bundle after these changes, all digests mended
bend() {
    skip_without zstd
    python3 -I "$NJ_ROOT/tests/lib/bundle.py" edit "$B" bent.njb "$@"
}

# ---- reading ----

@test "show tells the whole session, in order" {
    expect 0 nightjar-replay show "$B"
    for text in "I write two files." said-one said-two warned from-mount "All done"; do
        has_out "$text"
    done
}

@test "show of one step tells request, call, output and what changed" {
    steps=$(nightjar-replay show "$B" | grep -c .)
    [ "$steps" -gt 4 ]
    found=
    for n in 1 2 3 4 5 6 7 8 9 10 11 12; do
        if nightjar-replay show "$B@$n" >one 2>/dev/null && grep -q said-two one; then
            found=$n
            grep -q "second" one
            grep -qw a one
            break
        fi
    done
    [ -n "$found" ] || complain "no step shows said-two"
}

@test "show --json is JSON" {
    expect 0 nightjar-replay show --json "$B"
    python3 -I -c 'import json,sys
text = sys.stdin.read()
try:
    json.loads(text)
except ValueError:
    [json.loads(line) for line in text.splitlines()]' <<<"$out"
}

@test "ls, cat and checkout give the workspace at the end" {
    expect 0 nightjar-replay ls "$B"
    has_out a
    has_out c
    [[ $out != *d/b* ]]
    expect 0 nightjar-replay cat "$B" /workspace/a
    same "$out" $'first\nsecond'
    expect 0 nightjar-replay checkout "$B" out
    same "$(cat "$(find out -name a -type f)")" $'first\nsecond'
    same "$(xxd -p "$(find out -name c -type f)")" "$(printf 'binary\000\377' | xxd -p)"
}

@test "the workspace at an earlier step is what it was then" {
    early=
    for n in 1 2 3 4 5 6 7 8; do
        if nightjar-replay cat "$B@$n" /workspace/d/b >got 2>/dev/null; then
            early=$n
            break
        fi
    done
    [ -n "$early" ] || complain "no step has d/b"
    same "$(cat got)" deep
    expect 0 nightjar-replay cat "$B@$early" /workspace/a
    same "$out" first
    expect 1 nightjar-replay cat "$B" /workspace/d/b
    has_err d/b
}

@test "a checkout writes into an empty folder only" {
    mkdir full && echo mine >full/a
    run nightjar-replay checkout "$B" full
    [ "$status" -ne 0 ]
    same "$(cat full/a)" mine
}

@test "RUN:KEY reads the run itself" {
    expect 0 nightjar-replay show "$RUN:one"
    has_out said-one
    expect 0 nightjar-replay cat "$RUN:one" /workspace/a
    same "$out" $'first\nsecond'
    expect 0 nightjar-replay verify "$RUN:one"
    expect 2 nightjar-replay show "$RUN:nobody"
    has_err nobody
}

# ---- verify ----

@test "a sound bundle verifies, anywhere and again" {
    expect 0 nightjar-replay verify "$B"
    cp "$B" moved.njb
    expect 0 env -u HOME TZ=Asia/Tokyo nightjar-replay verify moved.njb moved.njb
}

@test "verify really runs the code again" {
    # The program's text counts its own runs through what the kernel counts: time on this host's clock.
    job_one bash <<<'sleep 0.7; echo slept'
    expect 0 nightjar run job.yaml --run-dir run
    before=$(date +%s%N)
    expect 0 nightjar-replay verify "$(bundle one)"
    [ $(($(date +%s%N) - before)) -ge 700000000 ]
}

@test "what depends on chance differs, and verify says which step" {
    job_one bash <<<'head -c 16 /dev/urandom | od -An -tx1'
    sed -i 's/^    model: worker$/&\n    reproducible: D0/' job.yaml
    expect 0 nightjar run job.yaml --run-dir run
    expect 1 nightjar-replay verify "$(bundle one)"
    has "standard output"
    expect 0 nightjar-replay show "$(bundle one)"
    has_out "level     D0, as declared"
}

@test "a byte of recorded output is found" {
    bend 'e = b.events("tool-done")[0]["body"]["outcome"]["out"]; e["head"] = e["head"].replace(b"said-one", b"said-0ne")'
    expect 1 nightjar-replay verify bent.njb
    has "said-0ne"
    has "said-one"
}

@test "a byte of recorded standard error is found" {
    bend 'e = b.events("tool-done")[1]["body"]["outcome"]["errors"]; e["head"] = e["head"].replace(b"warned", b"warmed")'
    expect 1 nightjar-replay verify bent.njb
    has "standard error"
}

@test "a recorded exit status is found" {
    bend 'b.events("tool-done")[2]["body"]["outcome"]["status"] = 4'
    expect 1 nightjar-replay verify bent.njb
    has "exit status"
    has 4
    has 3
}

@test "a byte of a tool's input is found by what it does" {
    bend 'o = b.find("echo said-one", 5); o["b"] = o["b"].replace(b"echo said-one", b"echo said-0ne")'
    expect 1 nightjar-replay verify bent.njb
    has "said-one"
}

@test "a byte of a workspace file is found, by path" {
    bend 'o = b.find("first\nsecond\n", 1); o["b"] = b"first\nsecomd\n"'
    expect 1 nightjar-replay verify bent.njb
    has "/workspace/a"
}

@test "a byte of an input is found by what it does" {
    bend 'o = b.find("from-mount\n", 1); o["b"] = b"form-mount\n"'
    expect 1 nightjar-replay verify bent.njb
    has "form-mount"
}

@test "the first difference is named and the others are counted" {
    bend 'b.events("tool-done")[0]["body"]["outcome"]["out"]["head"] = b"said-0ne\n"' \
        'b.events("tool-done")[2]["body"]["outcome"]["status"] = 4'
    expect 1 nightjar-replay verify bent.njb
    has "said-0ne"
    has "more"
}

@test "one of several that differs makes the exit 1, and is named" {
    bend 'b.events("tool-done")[2]["body"]["outcome"]["status"] = 4'
    expect 1 nightjar-replay verify "$B" bent.njb
    has "bent.njb"
}

@test "a bundle that only looks mended is refused by name of the damage" {
    skip_without zstd
    python3 -I "$NJ_ROOT/tests/lib/bundle.py" raw "$B" bent.njb 'm["nightjar.json"] = m["nightjar.json"].replace(b"\"one\"", b"\"two\"")'
    run nightjar-replay verify bent.njb
    [ "$status" -ne 0 ]
    head -c -1 "$B" | tail -c +2 >cut.njb
    run nightjar-replay verify cut.njb
    [ "$status" -eq 2 ]
}

@test "the reader knows what the second reader knows" {
    skip_without zstd
    python3 -I "$NJ_ROOT/tests/lib/bundle.py" edit "$B" same.njb 'pass'
    expect 0 nightjar-replay verify same.njb
}
