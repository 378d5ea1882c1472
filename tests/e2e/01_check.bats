# Faults of a manifest: each is named with line, column, path, what was expected and the nearest known
# name; the exit status is 2 and nothing has started.

load ../lib/common

setup() {
    nj_setup
    job_one bash <<<'echo hello'
}
teardown() { nj_teardown; }

# refused TEXT... - check and run refuse job.yaml with all of the texts, and leave nothing behind
refused() {
    local command text
    for command in "check" "run --run-dir run"; do
        # shellcheck disable=SC2086
        expect 2 nightjar $command job.yaml
        for text; do
            has_err "$text"
        done
        [ ! -e run ] || complain "a run directory was made"
    done
}

at() { grep -n -m 1 -- "$1" job.yaml | cut -d: -f1; }

@test "a sound manifest is explained" {
    expect 0 nightjar check job.yaml
    has "one"
    [ ! -e runs ]
}

@test "the plan of the sandbox can be printed before anything runs" {
    expect 0 nightjar check --plan job.yaml
    has_out "/workspace"
    has_out "seccomp"
    has_out "memory"
}

@test "an unknown key is named with its place and the nearest known one" {
    sed -i 's/    instructions:/    instruction:/' job.yaml
    refused "job.yaml:$(at instruction):5" "instruction" "instructions"
}

@test "a wrong type is named with its path" {
    sed -i 's/sandbox: {}/sandbox: {max_memory_mb: much}/' job.yaml
    refused "job.yaml:$(at max_memory_mb):" "agents.tester.sandbox.max_memory_mb" "much"
}

@test "zero, negative and huge limits are refused" {
    local value
    for value in 0 -1 99999999999999999999; do
        sed "s/sandbox: {}/sandbox: {max_memory_mb: $value}/" job.yaml >bad.yaml
        expect 2 nightjar check bad.yaml
        has_err "max_memory_mb"
    done
}

@test "all faults of a file are told at once" {
    sed -i -e 's/    instructions:/    instruction:/' -e 's/    agent: tester/    agent: taster/' job.yaml
    refused "instruction" "taster" "tester"
}

@test "an unknown agent is named, with the nearest" {
    sed -i 's/    agent: tester/    agent: testr/' job.yaml
    refused "job.yaml:$(at testr):" "testr" "tester"
}

@test "broken YAML is named by line" {
    printf '\tnot: [yaml\n' >>job.yaml
    refused "job.yaml:$(wc -l <job.yaml):"
}

@test "a manifest that is no UTF-8 is refused" {
    printf 'job: "\xff\xfe"\n' >job.yaml
    refused "job.yaml:1:" "UTF-8"
}

@test "a manifest that is not there is named" {
    expect 2 nightjar check nowhere.yaml
    has_err "nowhere.yaml"
}

@test "two sessions with one key are refused" {
    mkdir a b && touch a/x.txt b/x.txt
    sed -i -e 's/    key: one/    key: "{item.stem}"\n    for_each: {glob: "*\/x.txt"}/' job.yaml
    refused "job.yaml:" "x"
}

@test "a glob that finds nothing is refused" {
    sed -i -e 's/    key: one/    key: "{item.stem}"\n    for_each: {glob: "none\/*.txt"}/' job.yaml
    refused "none/*.txt"
}

@test "a file that is not there is named" {
    sed -i 's/    key: one/    key: one\n    files: [{source: missing.txt, target: \/workspace\/x}]/' job.yaml
    refused "missing.txt"
}

@test "paths may not leave the manifest's folder" {
    local path
    echo secret >"$BATS_TEST_TMPDIR/outside"
    for path in ../outside /etc/shadow "$BATS_TEST_TMPDIR/outside"; do
        sed "s|    key: one|    key: one\n    files: [{source: \"$path\", target: /workspace/x}]|" job.yaml >bad.yaml
        expect 2 nightjar check bad.yaml
        has_err "--allow-path"
    done
}

@test "a link does not lead out of the manifest's folder either" {
    echo secret >"$BATS_TEST_TMPDIR/outside"
    ln -s ../outside link
    sed -i 's/    key: one/    key: one\n    files: [{source: link, target: \/workspace\/x}]/' job.yaml
    refused "link"
}

@test "an allowed path may be read" {
    mkdir "$BATS_TEST_TMPDIR/outside"
    echo fine >"$BATS_TEST_TMPDIR/outside/x"
    sed -i "s|    key: one|    key: one\n    files: [{source: \"$BATS_TEST_TMPDIR/outside/x\", target: /workspace/x}]|" job.yaml
    expect 0 nightjar check --allow-path "$BATS_TEST_TMPDIR/outside" job.yaml
}

@test "targets outside the writable paths are refused" {
    sed -i 's/    key: one/    key: one\n    files: [{content: x, target: \/etc\/passwd}]/' job.yaml
    refused "/etc/passwd"
}

@test "groups that wait for each other are refused" {
    cat >>job.yaml <<-'YAML'
	  - {name: two, agent: tester, key: two, after: [three], input: "x"}
	  - {name: three, agent: tester, key: three, after: [two], input: "x"}
	YAML
    refused "after"
}

@test "a fault in the replies file is named by file and line" {
    printf 'replies:\n  - sayy: "x"\n' >replies.yaml
    refused "replies.yaml:2:" "sayy" "say"
}

@test "a manifest bomb is refused, not expanded" {
    {
        echo 'a: &a [x,x,x,x,x,x,x,x,x,x]'
        local n
        for n in b c d e f g h i; do
            printf '%s: &%s [*%s,*%s,*%s,*%s,*%s,*%s,*%s,*%s,*%s]\n' "$n" "$n" $(printf "%s " "$(echo "$n" | tr b-i a-h)"){,,,,,,,,}
        done
    } >job.yaml
    refused "job.yaml:"
}

@test "what this version does not run is refused by name, not ignored" {
    sed -i 's/sandbox: {}/sandbox: {allowed_domains: [example.com]}/' job.yaml
    refused "allowed_domains"
}

@test "the schema for editors is printed, and a validator that is not ours agrees with the parser" {
    local manifests=$NJ_ROOT/tests/golden/manifest
    expect 0 nightjar check --schema
    cp "$BATS_TEST_TMPDIR/out" job.schema.json
    cmp job.schema.json "$NJ_ROOT/formats/manifest/nightjar-job.schema.json"
    python3 "$NJ_ROOT/tests/lib/schema.py" job.schema.json "$manifests"/v0/*.{yaml,dump} \
        "$NJ_ROOT"/samples/*/job.yaml >good || { [ $? -ne 77 ] || skip "$(cat good)"; cat good >&2; return 1; }
    [ "$(wc -l <good)" -ge 11 ]
    ! grep -v '^ok ' good >&2
    python3 "$NJ_ROOT/tests/lib/schema.py" job.schema.json "$manifests"/damaged/*.yaml >damaged
    # Circles and doubles are what no schema can tell.
    [ "$(sed -n 's|^ok .*/||p' damaged | xargs)" = "circles.yaml group-names-twice.yaml" ] || { grep '^ok' damaged >&2; return 1; }
}

@test "--schema takes no job, and a job is needed without it" {
    expect 2 nightjar check --schema job.yaml
    has_err "--schema needs no JOB"
    expect 2 nightjar check
    has_err "JOB is missing"
}

@test "wrong usage is exit 2 with the usage, help is exit 0 on standard output" {
    expect 2 nightjar
    expect 2 nightjar frobnicate
    has_err "frobnicate"
    expect 2 nightjar run --frobnicate job.yaml
    has_err "--frobnicate"
    expect 0 nightjar --help
    has_out "run"
    expect 0 nightjar run --help
    has_out "--run-dir"
    expect 2 nightjar-replay
    expect 0 nightjar-replay --help
    has_out "verify"
}
