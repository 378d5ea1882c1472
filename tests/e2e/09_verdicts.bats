# What verify answers to a script: exit statuses, JSON, several records, a signal, an unfinished run.

load ../lib/common

setup() {
    nj_setup
    skip_without namespaces
    if [ ! -e "$BATS_FILE_TMPDIR/one.njb" ]; then
        job_one bash <<<'echo said-one'
        nightjar run job.yaml --run-dir "$BATS_FILE_TMPDIR/run" 2>/dev/null
        cp "$(bundle one "$BATS_FILE_TMPDIR/run")" "$BATS_FILE_TMPDIR/one.njb"
        rm -f job.yaml replies.yaml
    fi
    B=$BATS_FILE_TMPDIR/one.njb
}
teardown() { nj_teardown; }

bend() {
    skip_without zstd
    python3 -I "$NJ_ROOT/tests/lib/bundle.py" edit "$B" bent.njb "$@"
}

LIE='e = b.events("tool-done")[0]["body"]["outcome"]["out"]; e["head"] = e["head"].replace(b"said-one", b"said-0ne")'
# about STATEMENT - a statement for bend that changes a, what nightjar.json says
about() { printf 'n = "nightjar.json"; a = json.loads(b.members[n]); %s; b.members[n] = json.dumps(a, indent=2).encode() + b"\\n"' "$1"; }
OTHER_BASH=$(about 'a["environment"]["interpreters"]["bash"]["sha256"] = "00" * 32')

# lines EXPRESSION - every line of $out is JSON; evaluate over them as l
lines() {
    python3 -I -c 'import json, sys
l = [json.loads(line) for line in sys.argv[1].splitlines()]
sys.exit(0 if eval(sys.argv[2]) else f"not so: {sys.argv[2]}\n{sys.argv[1]}")' "$out" "$1"
}

@test "an interpreter that is another one is a note while nothing differs" {
    bend "$OTHER_BASH"
    expect 0 nightjar-replay verify bent.njb
    has_out "environment: bash: recorded"
}

@test "an interpreter that is another one makes a difference exit 5" {
    bend "$OTHER_BASH" "$LIE"
    expect 5 nightjar-replay verify bent.njb
    has_out "environment differs"
    has_out "said-0ne"
}

@test "another kernel alone changes no verdict" {
    bend "$(about 'a["environment"]["kernel"] = "2.6.32"')" "$LIE"
    expect 1 nightjar-replay verify bent.njb
    has_out "recorded 2.6.32"
}

@test "one JSON object a record, in the order given" {
    bend "$LIE"
    expect 1 nightjar-replay verify --json --jobs 3 "$B" bent.njb "$B"
    lines '[x["verdict"] for x in l] == ["equal", "diverged", "equal"]'
    lines 'l[1]["differences"][0]["kind"] == "stdout" and l[1]["differences"][0]["step"] == 2 and l[1]["steps_differ"] >= 1'
    lines 'l[0]["calls_run"] == 1 and l[0]["differences"] == [] and l[0]["closed"]'
}

@test "a record that is refused does not keep the others from being verified" {
    echo text >text.njb
    expect 2 nightjar-replay verify text.njb "$B"
    has_out "text.njb: failed"
    has_out "one.njb: equal"
    has_err "text.njb"
}

@test "a refused record weighs more than one that differs, in whatever order" {
    bend "$LIE"
    echo text >text.njb
    expect 2 nightjar-replay verify bent.njb text.njb
    expect 2 nightjar-replay verify text.njb bent.njb
}

@test "a step cannot be verified alone, and says so" {
    expect 2 nightjar-replay verify "$B@1"
    has_err "whole session"
    expect 2 nightjar-replay verify
    expect 2 nightjar-replay verify --jobs 0 "$B"
    expect 2 nightjar-replay verify --frobnicate "$B"
}

@test "a signal ends verify with exit 4 and leaves no process" {
    local nap=6.54$(id -u) # the suites of root and of the user run side by side
    job_one bash <<<"sleep $nap; echo slept"
    expect 0 nightjar run job.yaml --run-dir run
    begin nightjar-replay verify "$(bundle one)"
    until_true 10 pgrep -f "sleep ${nap/./\\.}\$"
    kill -TERM "$begun"
    ended 4
    has_out stopped
    until_true 5 sh -c "! pgrep -f 'sleep ${nap/./\\.}\$'"
}

@test "a session under way is verified to its last commit" {
    job_many 1
    # It waits for its second reply for as long as it is looked at.
    sed -i '/turn: 2/,/delay_ms/ s/delay_ms: 0/delay_ms: 120000/' replies.yaml
    begin nightjar run job.yaml --run-dir run
    engine=$begun
    until_true 20 sh -c 'nightjar-replay show run:001 2>/dev/null | grep -q "call 1 of turn 1"'
    expect 0 nightjar-replay verify run:001
    has_out "to its last commit"
    has_out "1 call"
    expect 0 nightjar stop run --now
    begun=$engine ended 4
    sed -i 's/delay_ms: 120000/delay_ms: 0/' replies.yaml
    expect 0 nightjar run job.yaml --run-dir whole
    expect 0 nightjar-replay verify whole:001
    hasnt "to its last commit"
}

@test "an ordinary user verifies too" {
    skip_without root
    chmod 755 "$BATS_RUN_TMPDIR" "$BATS_FILE_TMPDIR" "$BATS_TEST_TMPDIR" "$PWD" 2>/dev/null
    cp "$B" mine.njb && chmod 644 mine.njb
    cp "$NJ_BUILD"/bin/{nightjar-replay,nj-sandbox} . && chmod 755 nightjar-replay nj-sandbox
    expect 0 setpriv --reuid 65534 --regid 65534 --clear-groups ./nightjar-replay verify "$PWD/mine.njb"
    has_out "mine.njb: equal"
    expect 0 setpriv --reuid 65534 --regid 65534 --clear-groups ./nightjar-replay show "$PWD/mine.njb"
    has_out said-one
}

@test "where namespaces are refused, reading goes on and verify says the cure" {
    skip_without root
    # A filter that refuses unshare stands in for a container that does.
    command -v bwrap >/dev/null || skip "no bwrap here"
    expect 0 bwrap --dev-bind / / --unshare-user --uid 1000 --disable-userns -- nightjar-replay show "$B"
    has_out said-one
    expect 3 bwrap --dev-bind / / --unshare-user --uid 1000 --disable-userns -- nightjar-replay verify "$B"
    has_err "max_user_namespaces"
}
