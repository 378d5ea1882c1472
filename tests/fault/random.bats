# Killed at random moments: a run of many sessions again and again, and supervisors beneath a run that goes on.
#
# NJ_KILLS=N kills (default 12 in a run of 24 sessions; NJ_FULL=1: 100 in one of 64), NJ_SEED=N other moments.

load ../lib/common
load ../lib/fault

setup() {
    fault_setup
    SEED=${NJ_SEED:-5}
    RANDOM=$SEED
    echo "seed: NJ_SEED=$SEED" # shown when the case fails
    COUNT=24 KILLS=${NJ_KILLS:-12}
    [ "${NJ_FULL:-0}" = 0 ] || COUNT=64 KILLS=${NJ_KILLS:-100}
    # One length of a call for all: the moments are spread over models and tools alike.
    DELAY_MS=20 SESSIONS=16 job_many "$COUNT"
}
teardown() { nj_teardown; }

many_undisturbed() {
    local began
    began=$(date +%s%N)
    undisturbed
    took_ms=$((($(date +%s%N) - began) / 1000000))
}

# not_asked_again - what was durable at this kill was delivered as often as then, now
not_asked_again() {
    python3 -I - "$@" <<-'PYTHON'
	import collections, glob, json, sys
	def delivered(path):
	    return collections.Counter((r["session"], r["turn"]) for r in map(json.loads, open(path)))
	now = delivered("log")
	kills = sorted(glob.glob("kill-*.durable"))
	assert kills, "nothing was noted"
	for path in kills:
	    then = delivered(path.replace(".durable", ".log"))
	    for words in map(str.split, open(path)):
	        if words[1] == "reply":
	            reply = words[0], int(words[2])
	            if then[reply] == 0 or now[reply] != then[reply]:
	                sys.exit(f"{path}: {reply} was durable, delivered {then[reply]} times then and {now[reply]} in the end")
	# One kill repeats at most the one call in flight of each session.
	again = collections.Counter()
	for (key, turn), n in now.items():
	    again[key] += n - 1
	worst = max(again.values())
	assert worst <= len(kills), f"{worst} repeated calls in one session at {len(kills)} kills"
	PYTHON
}

killed_often() {
    local kills=0 round=0
    export NJ_SCRIPT_LOG=$PWD/log
    while [ "$kills" -lt "$KILLS" ]; do
        if [ "$round" -gt 0 ] && [ "$(grep -c '"status":"succeeded"' run/results.jsonl 2>/dev/null)" = "$COUNT" ]; then
            facts run | diff facts-plain - # it came to its end before the next kill: begin anew
            not_asked_again
            rm -rf run log kill-*
            round=0
        fi
        if [ "$round" -eq 0 ]; then
            begin nightjar run job.yaml --run-dir run --quiet
        else
            begin nightjar resume run --quiet
        fi
        sleep "$(printf '%d.%03d' $((RANDOM % took_ms / 1000)) $((RANDOM % (took_ms < 1000 ? took_ms : 1000))))"
        kill -KILL "$begun" 2>/dev/null || true
        wait "$begun" 2>/dev/null || true
        kills=$((kills + 1))
        round=$((round + 1))
        noted
        cp durable "kill-$kills.durable"
        cp log-then "kill-$kills.log"
        # Before the run had begun there was nothing to lose: such a kill does not count.
        [ -e run/job.yaml ] || { rm -f kill-*; round=0; kills=$((kills - 1)); }
    done
    go_on
    facts run | diff facts-plain -
    not_asked_again
}

@test "killed at random moments, all sessions come to the same end" {
    many_undisturbed
    killed_often
}

@test "the same with boxes evicted at every chance" {
    export NJ_TEST_EVICT_ALWAYS=1
    many_undisturbed
    [ -n "${NJ_KILLS-}" ] || [ "${NJ_FULL:-0}" != 0 ] || KILLS=6
    killed_often
}

# supervisors ENGINE - the pids of its boxes' supervisors: children of a child
supervisors() {
    ps -e -o pid=,ppid=,comm= | awk -v engine="$1" '
        { parent[$1] = $2; name[$1] = $3 }
        END { for (pid in parent) if (parent[parent[pid]] == engine && name[pid] == "nj-box") print pid }'
}

# lost_thrice - the sessions that lost three boxes: a call ends with the third, as it may be the call's own doing
lost_thrice() { awk '$2 " " $3 == "box lost" && ++n[$1] == 3 { print $1 }' events; }

# but_for PATTERN - what is told of other sessions than these (an extended expression, or nothing)
but_for() { grep -Ev "\"(${1:-none})\"|outputs/(${1:-none})/|bundle (${1:-none})-"; }

@test "supervisors killed at random moments: the run goes on to the same end" {
    local killed=0 status=0 pids pid thrice
    many_undisturbed
    export NJ_SCRIPT_LOG=$PWD/log
    begin nightjar run job.yaml --run-dir run
    while kill -0 "$begun" 2>/dev/null && [ "$killed" -lt "$KILLS" ]; do
        mapfile -t pids < <(supervisors "$begun")
        if [ "${#pids[@]}" -gt 0 ]; then
            pid=${pids[RANDOM % ${#pids[@]}]}
            kill -KILL "$pid" 2>/dev/null && killed=$((killed + 1))
        fi
        sleep 0.1
    done
    wait "$begun" || status=$?
    "$NJ_JOURNAL_EVENTS" run/journal >events
    [ "$killed" -gt 0 ] || complain "no supervisor was found"
    echo "killed $killed, noticed $(grep -c ' box lost$' events)"
    # On a busy machine chance may meet one session three times. That one is told so; all others end as undisturbed.
    thrice=$(lost_thrice | paste -sd'|')
    [ "$status" -eq 0 ] || [ -n "$thrice" ] || complain "exit status $status, though no session lost three boxes"
    diff <(but_for "$thrice" <facts-plain) <(facts run | but_for "$thrice")
    same "$(but_for "$thrice" <log | sort)" "$(but_for "$thrice" <log-plain | sort)" "delivered replies"
}
