# attack.bash - what the attack suites share, beside common.bash
#
#   attack_build              (setup_file) build the programs of tests/lib/attack
#   attack COMMAND [COMMAND]  run it in a box, with the programs at /attack; $got is what the last call answered
#   matches NAME              $got is the table tests/lib/attack/NAME.table; what the call is told of its limits apart,
#                             which depends on whether a cgroup or a watchdog keeps them
#   attack_manifest           print a manifest up to its sessions: agent "attacker" in such a box, answered by replies.yaml
# ATTACK_SANDBOX is the inside of the manifest's sandbox map.

attack_build() {
    local source bin=$BATS_FILE_TMPDIR/attack
    command -v cc >/dev/null || return 0 # the cases say that they are skipped
    mkdir -p "$bin"
    for source in "$BATS_TEST_DIRNAME"/../lib/attack/*.c; do
        cc -O1 -Wall -Wextra -Werror -D_GNU_SOURCE -pthread -o "$bin/$(basename "$source" .c)" "$source" || return 1
    done
    cp "$BATS_TEST_DIRNAME"/../lib/attack/*.{py,sh} "$bin" 2>/dev/null || true
    chmod -R a+rX "$bin"
}

attack_manifest() {
    cat <<-YAML
	nightjar: 1
	job: attack
	models: {worker: [{provider: script, script: replies.yaml}]}
	agents:
	  attacker:
	    model: worker
	    sandbox: {mounts: [{source: attack, target: /attack}]${ATTACK_SANDBOX:+, $ATTACK_SANDBOX}}
	    tools: [{type: code_execution}]
	YAML
}

attack() {
    local turn=0 command
    {
        echo "replies:"
        for command; do
            turn=$((turn + 1))
            printf '  - when: {turn: %d}\n    call: [{tool: code_execution, input: {language: bash, code: %s, timeout_seconds: %d}}]\n' \
                "$turn" "$(json <<<"$command")" "${CALL_TIMEOUT:-60}"
        done
        echo '  - say: "{last}"'
    } >replies.yaml
    cp -R "$BATS_FILE_TMPDIR/attack" .
    {
        attack_manifest
        echo 'sessions: [{name: one, agent: attacker, key: one, input: "Go."}]'
    } >job.yaml
    expect 0 nightjar run job.yaml --run-dir run
    got=$(result one)
}

matches() {
    local table="$NJ_ROOT/tests/lib/attack/$1.table"
    diff "$table" <(grep -v '^\[limit\] ' <<<"$got") >&2 || complain "outcomes differ from $table (<: expected, >: what came)"
}
