# after: groups that wait for others and get their results.
#
# once: who waits for whom is the engine's sum

load ../lib/common

setup() {
    nj_setup
    skip_without namespaces
    job_many 4
    sed -i -e '/^limits:/d' -e 's/^sessions:/  summer: {model: worker, tools: [{type: code_execution}]}\nsessions:/' job.yaml
    cat >>job.yaml <<-'YAML'
	  - name: summary
	    agent: summer
	    key: summary
	    after: [items]
	    files: [{content: "{results}", target: /workspace/results.json}]
	    input: "Summarise {results}"
	    outputs: [/workspace/kept.json]
	YAML
    cat >more <<-'YAML'
	  - when: {agent: summer, turn: 1, matches: "^Summarise"}
	    call: [{tool: code_execution, input: {language: bash, code: "cp results.json kept.json"}}]
	  - when: {agent: summer}
	    say: "summed up"
	YAML
    sed -i '/^replies:/r more' replies.yaml
}
teardown() { nj_teardown; }

kept() { find run/outputs -name kept.json; }

@test "a group after another starts when all of that have ended, with their rows" {
    expect 0 nightjar run job.yaml --run-dir run
    same "$(python3 -c 'import json; print([json.loads(l)["key"] for l in open("run/results.jsonl")][-1])')" summary
    python3 -I - "$(kept)" <<-'PYTHON'
	import json, sys
	rows = json.load(open(sys.argv[1]))
	assert [row["key"] for row in rows] == ["001", "002", "003", "004"], rows
	assert all(row["status"] == "succeeded" for row in rows), rows
	assert rows[1]["result"].strip() == "002: 2 METI", rows
	PYTHON
}

@test "a failed session is in the results too, and the group still runs" {
    sed -i 's/^replies:/replies:\n  - {when: {item.stem: "003"}, fail: refusal}/' replies.yaml
    expect 1 nightjar run job.yaml --run-dir run
    python3 -I - "$(kept)" <<-'PYTHON'
	import json, sys
	rows = json.load(open(sys.argv[1]))
	assert [row["status"] for row in rows] == ["succeeded", "succeeded", "failed", "succeeded"], rows
	PYTHON
    same "$(row summary 'r["status"]')" succeeded
}

@test "results hold no placeholder that could be expanded again" {
    sed -i 's/say: "{item.stem}: {last}"/say: "{results} {item.path} {{x}}"/' replies.yaml
    expect 0 nightjar run job.yaml --run-dir run
    [[ $(cat "$(kept)") == *'{results}'* ]]
}

@test "the summary's bundle replays by itself" {
    expect 0 nightjar run job.yaml --run-dir run
    cp "$(bundle summary)" alone.njb
    rm -rf run items job.yaml replies.yaml
    expect 0 nightjar-replay verify alone.njb
}
