# limits.deadline: an hour somewhere at which the run is suspended, and who goes on has until the next one.
#
# once: a time of day is the same for everybody

load ../lib/common

setup() {
    nj_setup
    skip_without namespaces
}
teardown() { nj_teardown; }

# with_deadline TEXT - into the job that stands here
with_deadline() { sed -i "s|^limits: {|limits: {deadline: \"$1\", |" job.yaml; }

state() { python3 -I -c 'import json, sys; s = json.load(open("run/run.json")); print(eval(sys.argv[1]))' "$1"; }

@test "at its deadline a run is suspended, says so everywhere, and is gone on with until the next one" {
    DELAY_MS=500 SESSIONS=2 job_many 6
    with_deadline "06:00 UTC"
    NJ_TEST_DEADLINE_S=2 expect 4 nightjar run job.yaml --run-dir run
    has_err "limits.deadline"
    has_err "stopped   at its deadline, 20"
    has_err "nightjar resume run"
    same "$(state 's["state"], s["stop_reason"], s["sessions"]["failed"]')" "('suspended', 'deadline', 0)"
    same "$(wc -l <run/results.jsonl)" 6 "rows"
    grep -q '"status":"suspended"' run/results.jsonl || complain "nobody was suspended"
    grep -q '^nightjar_run_deadline_time_seconds{job="many"} [0-9]' run/metrics.prom || complain "no deadline in metrics.prom"
    expect 0 nightjar status run
    has_out "suspended (deadline)"
    expect 0 nightjar resume run --quiet
    same "$(grep -c '"status":"succeeded"' run/results.jsonl)" 6 "succeeded rows"
    same "$(state 's["state"], s["stop_reason"]')" "('finished', None)"
}

@test "the deadline is the next such time in its zone, and status tells it beside a live engine" {
    [ -e /usr/share/zoneinfo/Pacific/Auckland ] || skip "no time zones here (package tzdata)"
    DELAY_MS=60000 job_many 1
    with_deadline "06:30 Pacific/Auckland"
    begin nightjar run job.yaml --run-dir run --quiet
    until_true 20 grep -q '"running": 1' run/run.json
    python3 -I - <<-'PYTHON'
	import datetime, json, zoneinfo
	zone = zoneinfo.ZoneInfo("Pacific/Auckland")
	state = json.load(open("run/run.json"))
	read = lambda text: datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).astimezone(zone)
	started, deadline = read(state["started"]), read(state["deadline"])
	if (deadline.hour, deadline.minute, deadline.second) != (6, 30, 0) or not 0 < (deadline - started).total_seconds() <= 25 * 3600:
	    raise SystemExit(f"started {started}, deadline {deadline}")
	PYTHON
    expect 0 nightjar status run
    has_out "  until     20"
    expect 0 nightjar status run --json
    has_out '"deadline":"20'
    expect 0 nightjar stop run --now
    ended 4
}

@test "a zone that this host does not know is a fault of the manifest, before anything starts" {
    job_many 1
    with_deadline "06:00 Europe/Nowhere"
    for command in run check plan; do
        expect 2 nightjar "$command" job.yaml
        has_err "job.yaml:$(grep -n deadline job.yaml | cut -d: -f1):"
        has_err "limits.deadline: this host knows no time zone Europe/Nowhere"
    done
    ! [ -e runs ] || [ -z "$(ls runs)" ] || complain "a run was left: $(ls runs)"
}
