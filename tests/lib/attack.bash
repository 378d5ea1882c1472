# attack.bash - what the attack suites share, beside common.bash
#
#   attack_build              (setup_file) build the programs of tests/lib/attack
#   attack COMMAND [COMMAND]  run it in boxes, with the programs at /attack, one of each level of ATTACK_LEVELS at once:
#                             ${got[LEVEL]} is what the last call answered there
#   matches NAME              each ${got[LEVEL]} is the table tests/lib/attack/NAME.table; what the call is told of its
#                             limits apart, which depends on whether a cgroup or a watchdog keeps them
#   attack_manifest           print a manifest up to its sessions: agent "attacker" in such a box, answered by replies.yaml
# ATTACK_SANDBOX is the inside of the manifest's sandbox map, ATTACK_LEVEL the level of attack_manifest's agent.

# Without the reproducible layer, with what a box has unless told, and with all of it.
ATTACK_LEVELS=${ATTACK_LEVELS:-D0 D2 D3}

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

attack_head() {
    cat <<-YAML
	nightjar: 1
	job: attack
	models: {worker: [{provider: script, script: replies.yaml}]}
	agents:
	YAML
}

attack_agent() { # attack_agent NAME LEVEL
    cat <<-YAML
	  $1:
	    model: worker
	    reproducible: $2
	    sandbox: {mounts: [{source: attack, target: /attack}]${ATTACK_SANDBOX:+, $ATTACK_SANDBOX}}
	    tools: [{type: code_execution}]
	YAML
}

attack_manifest() {
    attack_head
    attack_agent attacker "${ATTACK_LEVEL:-D2}"
}

attack() {
    local turn=0 command level levels
    read -ra levels <<<"$ATTACK_LEVELS"
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
        attack_head
        for level in "${levels[@]}"; do attack_agent "at-$level" "$level"; done
        echo "sessions:"
        for level in "${levels[@]}"; do echo "  - {name: $level, agent: at-$level, key: $level, input: \"Go.\"}"; done
    } >job.yaml
    expect 0 nightjar run job.yaml --run-dir run
    declare -gA got=()
    for level in "${levels[@]}"; do got[$level]=$(result "$level"); done
}

matches() {
    local table="$NJ_ROOT/tests/lib/attack/$1.table" level
    for level in "${!got[@]}"; do
        diff "$table" <(grep -v '^\[limit\] ' <<<"${got[$level]}") >&2 ||
            complain "at $level outcomes differ from $table (<: expected, >: what came)"
    done
}
