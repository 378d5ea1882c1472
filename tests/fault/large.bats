# A directory that is stored in leaves: killed at writes, and on a full disk, the run comes to the same end.
#
# Boxes are evicted at every chance, so what was stored is what the next call sees. Some six points of each kind are tried, all
# with NJ_FULL=1.

load ../lib/common
load ../lib/fault

setup() {
    fault_setup
    # 1,500 entries, and two changes: of one file, and of the listing.
    cat >replies.yaml <<-'YAML'
	replies:
	  - {when: {turn: 1}, call: [{tool: code_execution, input: {language: bash, code: "mkdir d; for i in {1..1500}; do echo $i >d/$i; done", timeout_seconds: 60}}]}
	  - {when: {turn: 2}, call: [{tool: code_execution, input: {language: bash, code: "echo new >d/700; rm d/3; mv d/5 d/x", timeout_seconds: 60}}]}
	  - {when: {turn: 3}, call: [{tool: code_execution, input: {language: bash, code: "ls -U d | cksum; cat d/* | cksum; mkdir out; cat d/* >out/all", timeout_seconds: 60}}]}
	  - {say: "{last}"}
	YAML
    printf '%s\n' 'nightjar: 1' 'job: large' 'models:' '  worker: [{provider: script, script: replies.yaml}]' \
        'agents:' '  tester: {model: worker, tools: [{type: code_execution, languages: [bash]}]}' \
        'sessions:' '  - {name: one, agent: tester, key: one, input: "Go.", outputs: [/workspace/out/**]}' \
        'limits: {disk_free_mb: 0}' >job.yaml
    export NJ_TEST_EVICT_ALWAYS=1 NJ_SCRIPT_LOG=$PWD/log
}
teardown() { nj_teardown; }

# ended ROLE POINT N ACTION STATUS... - the run ends with one of these, is gone on with, and ends as the undisturbed one
ended() {
    local status=0 fault="$1/$2#$3:$4" allowed
    shift 4
    export NJ_SCRIPT_LOG=$PWD/log
    NJ_FAULT="$fault" nightjar run "$FAULT_BASE/job.yaml" --run-dir run --quiet >run.out 2>run.err || status=$?
    noted || return 1
    if [ "$status" -ne 0 ]; then # 0: two runs do not pass a point equally often
        for allowed; do [ "$status" -ne "$allowed" ] || break; done
        [ "$status" -eq "${allowed:-0}" ] || complain "exit $status: $(cat run.err)" || return 1
        echo >>"$FAULT_BASE/struck"
        go_on || return 1
    fi
    equal_end
}
killed() { ended "$1" "$2" "$3" kill 137 3; }
no_space() { ended "$1" "$2" "$3" enospc 3; }

# A supervisor's end is not the run's: the call is repeated in a new box.
survived() {
    ended "$1" "$2" "$3" kill || return 1
    ! grep -q ' box lost$' events || echo >>"$FAULT_BASE/struck"
}

some() {
    [ "${NJ_FULL:-0}" = 0 ] || { echo 1; return; }
    echo $((($(passes "$1" "$2") + 5) / 6))
}

@test "leaves: killed at writes of the engine and of a worker" {
    undisturbed
    sweep engine write "$(some engine write)" killed
    sweep worker write "$(some worker write)" killed
    [ -s struck ] || complain "nothing was ever killed"
}

@test "leaves: supervisors killed at their writes" {
    undisturbed
    sweep supervisor write "$(some supervisor write)" survived
    [ -s struck ] || complain "nothing was ever killed"
}

@test "leaves: no space at a write" {
    undisturbed
    sweep engine write "$(some engine write)" no_space
    sweep worker write "$(some worker write)" no_space
    [ -s struck ] || complain "nothing ever failed"
}
