# run --reuse RUN: what succeeded there from exactly the same is taken over, and the model is not asked for it again.

load ../lib/common

setup() {
    nj_setup
    skip_without namespaces
    job_many 4
    # What comes after all of them is given their results.
    sed -i 's|^limits:|  - {name: last, agent: tester, key: last, after: [items], input: "Sum up {results}"}\n&|' job.yaml
    sed -i 's|^replies:|&\n  - {when: {matches: "^Sum up"}, say: "All: {last}", usage: {input_tokens: 10, output_tokens: 1}}|' replies.yaml
    expect 0 nightjar run job.yaml --run-dir before --quiet
    export NJ_SCRIPT_LOG=$PWD/log
    : >log
}
teardown() { nj_teardown; }

asked() { python3 -I -c 'import json; print(*sorted({json.loads(l)["session"] for l in open("log")}))'; }

outputs() { (cd "$1/outputs" && find . -type f -exec sha256sum {} + | sort); }

@test "a run of the same asks nothing of the model, and has rows, bundles and outputs of its own" {
    expect 0 nightjar run job.yaml --run-dir after --reuse before
    has_err "5 of 5 sessions are reused from $PWD/before"
    has_err "all 5 sessions succeeded, of them 5 reused"
    same "$(asked)" "" "sessions whose model was asked"
    same "$(wc -l <after/results.jsonl)" 5 "rows"
    for key in 001 last; do
        same "$(row "$key" '[r["status"], r["result"], r["error"]]' after)" "$(row "$key" '[r["status"], r["result"], r["error"]]' before)" "rows of $key"
    done
    same "$(row 001 '[r["attempts"], r["cost_usd"], r["tokens"]["input"], r["reused"]["run"], r["reused"]["attempts"]]' after)" \
        "[0, 0.0, 0, \"$PWD/before\", 1]"
    same "$(outputs after)" "$(outputs before)" "outputs"
    expect 0 nightjar-replay verify "$(bundle 002 after)"
    expect 0 nightjar-replay show after:002
    has_out "First I read."
    expect 0 nightjar status after
    has_out "5 succeeded, 5 of them reused, 0 failed"
    same "$(awk -F'\t' 'NR > 1 { print $7, $8, $13 }' after/joblog.tsv | sort | uniq -c | xargs)" "5 0 reused $PWD/before"
    grep -q 'tests="5" failures="0" errors="0" skipped="0"' after/junit.xml || complain "junit.xml: $(cat after/junit.xml)"
    same "$(grep -c "reused from $PWD/before" after/junit.xml)" 5
    grep -q '^nightjar_run_sessions_reused{job="many"} 5' after/metrics.prom || complain "metrics.prom does not tell"
    # The earlier run may go, and what was reused is reused once more.
    rm -rf before
    expect 0 nightjar-replay verify "$(bundle 002 after)"
    expect 0 nightjar run job.yaml --run-dir third --reuse after --quiet
    same "$(asked)" "" "sessions whose model was asked"
    same "$(row 001 '[r["reused"]["run"], r["reused"]["attempts"], r["reused"]["steps"]]' third)" "[\"$PWD/after\", 1, 5]"
}

@test "one changed input runs that session and what comes after it, and plan says so before" {
    echo changed >items/003.txt
    expect 0 nightjar plan job.yaml --reuse before
    has_out "items: 1 would run, 3 reused"
    has_out "last: 1 would run, 0 reused"
    expect 0 nightjar run job.yaml --run-dir after --reuse before --quiet
    same "$(asked)" "003 last" "sessions whose model was asked"
    same "$(result 003 after)" "003: DEGNAHC"
    row last 'r["result"]' after | grep -q DEGNAHC || complain "the sum does not have the new result"
    row last 'r["result"]' after | grep -q '001: 1 METI' || complain "the sum does not have a reused result"
}

@test "what cannot be taken over after all is run: a damaged bundle, one that is gone" {
    printf 'X' | dd of="$(bundle 001 before)" bs=1 seek=5000 conv=notrunc status=none
    rm "$(bundle 002 before)"
    expect 0 nightjar run job.yaml --run-dir after --reuse before
    has_err "is run, and not reused from $PWD/before: bundle"
    has_err "and 2 more" # the sum of what is run again
    same "$(asked)" "001 002 last" "sessions whose model was asked"
    same "$(row 001 '"reused" in r' after)" false
    expect 0 nightjar-replay verify "$(bundle 001 after)" "$(bundle 003 after)"
}

@test "what comes after a session that is run after all is run, wherever it stands in the manifest" {
    python3 -I - <<-'PYTHON'
	text = open("job.yaml").read()
	last = next(line for line in text.splitlines(True) if "name: last" in line)
	open("job.yaml", "w").write(text.replace(last, "").replace("sessions:\n", "sessions:\n" + last, 1))
	PYTHON
    expect 0 nightjar run job.yaml --run-dir earlier --quiet
    : >log
    rm "$(bundle 001 earlier)"
    expect 0 nightjar run job.yaml --run-dir after --reuse earlier --quiet
    same "$(asked)" "001 last" "sessions whose model was asked"
}

@test "a disk that is full while sessions are taken over ends that, and asks no model instead" {
    local said
    # A process of its own reads what is reused, and publishes outputs: each of its renames is one.
    NJ_FAULT="worker/rename#1:enospc" expect 3 nightjar run job.yaml --run-dir after --reuse before --quiet
    said=$err
    printf '%s\n' "$said" >said
    [[ $said == *"publish outputs 001"* ]] || complain "the fault was elsewhere"
    same "$(wc -l <said)" 1 "lines of: $said"
    [[ $said == *"No space left on device" ]] || complain "$said"
    expect 0 nightjar resume after --quiet
    same "$(grep -c '"reused":{' after/results.jsonl)" 5 "reused rows"
    same "$(outputs after)" "$(outputs before)" "outputs"
    same "$(asked)" "" "sessions whose model was asked"
}

@test "a bundle that ends the process which reads it is not reused, and the others are" {
    NJ_FAULT="worker/rename#2:kill" expect 0 nightjar run job.yaml --run-dir after --reuse before --quiet
    has_err "the process that read it has died"
    same "$(asked)" "002 last" "sessions whose model was asked"
    same "$(grep -c '"reused":{' after/results.jsonl)" 3 "reused rows"
}

@test "a run that is killed reuses the same when it is gone on with" {
    echo changed >items/003.txt
    sed -i 's/delay_ms: 0/delay_ms: 2000/' replies.yaml
    expect 0 nightjar run job.yaml --run-dir slow --quiet
    : >log
    echo again >items/003.txt
    begin nightjar run job.yaml --run-dir after --reuse slow --quiet
    until_true 20 grep -q '"reused": 3' after/run.json
    kill -KILL "$begun"
    ended 137
    sed -i 's/delay_ms: 2000/delay_ms: 0/' after/inputs/files/replies.yaml
    expect 0 nightjar resume after --quiet
    same "$(asked)" "003 last" "sessions whose model was asked"
    same "$(grep -c '"reused":{' after/results.jsonl)" 3
    grep -q '"reused": 3' after/run.json || complain "run.json does not count them"
}

@test "runs in a folder that only its owner may enter are reused, as root, too" {
    mkdir -m 700 home
    mv before home
    expect 0 nightjar run job.yaml --run-dir home/after --reuse home/before --quiet
    same "$(asked)" "" "sessions whose model was asked"
}

@test "a folder that is no run is refused, and nothing is left" {
    mkdir nothing
    for run in nothing nowhere; do
        expect 2 nightjar run job.yaml --run-dir after --reuse "$run"
        has_err "run $run: "
        ! [ -e after ] || complain "a run was left"
    done
}
