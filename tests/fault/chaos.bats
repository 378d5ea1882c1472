# A service where three calls of ten go wrong, and an engine that is killed again and again: every session ends right, and
# the server's own journal shows that nothing was asked again whose reply was durable.
#
# NJ_SESSIONS=N sessions (default 40; NJ_FULL=1: 500), NJ_KILL_AFTER=N calls between two kills, NJ_SEED=N the chaos of an
# earlier run. Kills follow the number of calls that were asked, so that a slow machine sees as many of them.

load ../lib/common
load ../lib/fault
load ../lib/model_server

setup() {
    fault_setup
    export NJ_TEST_KEY=key-$RANDOM$RANDOM$RANDOM
    COUNT=40 KILL_AFTER=${NJ_KILL_AFTER:-30}
    # Without the rate limits that name a whole second: all sessions wait it out together.
    CHAOS=0.3:429,500,504,529,html,close,cut,no_stop,garbage,error_event,utf8,types,empty
    [ "${NJ_FULL:-0}" = 0 ] || COUNT=500 KILL_AFTER=${NJ_KILL_AFTER:-60} CHAOS=0.3
    COUNT=${NJ_SESSIONS:-$COUNT}
    SEED=${NJ_SEED:-7}
}
teardown() { nj_teardown; }

asked() { grep -c '"event": "asked"' server.log 2>/dev/null || true; }

# killed_often PROVIDER STREAM
killed_often() {
    local kills=0 goal=$KILL_AFTER began=$SECONDS status
    models_serve server --chaos "$CHAOS" --seed "$SEED" <<-JSON
	{"accounts": {"$NJ_TEST_KEY": "ok"}, "models": {"m1": {}}, "replies": [
	    {"when": {"turn": 1}, "say": "I look.", "call": [{"input": {"language": "bash", "code": "echo {first} >a; cat a"}}], "delay": 0.02},
	    {"when": {"turn": 2}, "say": "Once more.", "call": [{"input": {"language": "bash", "code": "cat a a"}}], "delay": 0.02},
	    {"say": "{first} gave {last}", "delay": 0.02}]}
	JSON
    PROVIDER=$1 STREAM=$2 ITEMS=$COUNT SESSIONS=16 job_models
    begin nightjar run job.yaml --run-dir run --quiet
    while true; do
        while kill -0 "$begun" 2>/dev/null && [ "$(asked)" -lt "$goal" ]; do
            sleep 0.02
        done
        kill -KILL "$begun" 2>/dev/null || break # it has ended by itself
        wait "$begun" 2>/dev/null || true
        kills=$((kills + 1))
        "$NJ_JOURNAL_EVENTS" run/journal >"kill-$kills.durable"
        cp server.log "kill-$kills.log"
        goal=$(($(asked) + KILL_AFTER))
        begin nightjar resume run --quiet
    done
    status=0
    wait "$begun" || status=$?
    [ "$status" -le 1 ] || complain "the run ended with $status: $(<"$BATS_TEST_TMPDIR/begun.err")"
    # Five bad tries in a row are the end of a session; the morning's command mends it.
    cp run/results.jsonl first.jsonl
    for status in 1 2 3; do
        ! grep -q '"status":"failed"' run/results.jsonl || nightjar resume run --retry-failed --quiet >again.out 2>&1 || true
    done
    models_sound
    echo "$COUNT sessions, $kills kills in $((SECONDS - began)) s" >report
    right_end "$COUNT" "$kills" >>report || complain "$(<report)"
    [ "${NJ_FULL:-0}" = 0 ] || sed 's/^/# /' report >&3
}

right_end() { # SESSIONS KILLS
    python3 -I - "$@" 2>&1 <<-'PYTHON'
	import collections, glob, json, sys
	sessions, kills = map(int, sys.argv[1:])
	def rows(path):
	    return {r["key"]: r for r in map(json.loads, open(path, encoding="utf-8"))}
	def lines(path, event):
	    return [r for r in map(json.loads, open(path, encoding="utf-8")) if r["event"] == event]
	def calls(path):
	    return collections.Counter((r["first"].split(":")[0], r["turn"]) for r in lines(path, "asked"))
	first, end = rows("first.jsonl"), rows("run/results.jsonl")
	if len(end) != sessions:
	    sys.exit(f"{len(end)} rows")
	for key, row in end.items():
	    if row["status"] != "succeeded" or row["result"].rstrip("\n") != f"{key}: go. gave {key}: go.\n{key}: go.":
	        sys.exit(f"{key} ended wrong: {row}")
	failed = {key for key, row in first.items() if row["status"] != "succeeded"}
	if len(failed) > max(2, sessions // 25):
	    sys.exit(f"{len(failed)} of {sessions} sessions needed a second attempt")
	if any(row["error"]["kind"] != "model" for row in first.values() if row["status"] == "failed"):
	    sys.exit("a session failed for another reason than its model")
	if kills < 3 or kills != len(glob.glob("kill-*.log")):
	    sys.exit(f"{kills} kills prove nothing")
	# What was durable when the engine died is not asked for again. (A second attempt begins anew: those few are left out.)
	now, durable = calls("server.log"), 0
	for path in glob.glob("kill-*.log"):
	    then = calls(path)
	    for words in map(str.split, open(path.replace(".log", ".durable"))):
	        if words[1] != "reply" or words[0] in failed or words[0].startswith("?"):
	            continue # (a thinned session has ended: its replies stand below, as far as the server saw them)
	        reply = words[0], int(words[2])
	        durable += 1
	        if then[reply] == 0 or now[reply] != then[reply]:
	            sys.exit(f"{path}: {reply} was durable, asked for {then[reply]} times then and {now[reply]} in the end")
	# A sound reply was asked for twice only where a kill came between its answer and the journal.
	name = {r["n"]: (r["first"].split(":")[0], r["turn"]) for r in lines("server.log", "asked")}
	sound = collections.Counter(name[r["n"]] for r in lines("server.log", "answered") if r.get("whole") and name[r["n"]][0] not in failed)
	again = sum(n - 1 for n in sound.values())
	inflight = max(r["inflight"] for r in lines("server.log", "asked"))
	faults = sum(1 for r in lines("server.log", "answered") if not r.get("whole"))
	if again > kills * inflight:
	    sys.exit(f"{again} sound replies were asked for again at {kills} kills and at most {inflight} calls in flight")
	if faults * 5 < len(name):
	    sys.exit(f"{faults} of {len(name)} calls went wrong: that is no chaos")
	print(f"{len(name)} calls, {faults} went wrong; {durable} durable replies looked at, none asked again; {again} sound replies "
	      f"repeated at {kills} kills with at most {inflight} in flight; {len(failed)} second attempts")
	PYTHON
}

@test "30 % chaos and kill -9: every session ends right, and no durable reply is asked for again" {
    killed_often anthropic true
}

@test "the same with chat completions, not streamed" {
    [ -n "${NJ_SESSIONS-}" ] || COUNT=$((COUNT / 2)) KILL_AFTER=$((KILL_AFTER / 2))
    killed_often openai false
}
