# accept: a command of the job judges the result; its refusal goes back to the agent, who may repair.

load ../lib/common

setup() {
    nj_setup
    skip_without namespaces
    mkdir check
    cat >check/check.sh <<-'BASH'
	if ! [ -s /workspace/answer ]; then echo "there is no answer"; exit 1; fi
	if [ "$(cat /workspace/answer)" -lt 3 ]; then echo "$(cat /workspace/answer) is too small"; exit 1; fi
	BASH
    cat >replies.yaml <<-'YAML'
	replies:
	  - when: {turn: 1}
	    call: [{tool: code_execution, input: {language: bash, code: "echo 1 >answer"}}]
	  - when: {matches: "was not accepted"}
	    call: [{tool: code_execution, input: {language: bash, code: "echo $(($(cat answer) + 1)) >answer; cat answer"}}]
	  - say: "answer {last}"
	YAML
    cat >job.yaml <<-'YAML'
	nightjar: 1
	job: accept
	models:
	  worker: [{provider: script, script: replies.yaml}]
	agents:
	  tester:
	    model: worker
	    sandbox: {mounts: [{source: check, target: /check}]}
	    tools: [{type: code_execution}]
	sessions:
	  - name: one
	    agent: tester
	    key: one
	    input: "Write a number of 3 or more into answer."
	    outputs: [/workspace/answer]
	    accept: {command: [bash, /check/check.sh], attempts: 3}
	YAML
}
teardown() { nj_teardown; }

@test "the refusal reaches the agent, who repairs until it is accepted" {
    expect 0 nightjar run job.yaml --run-dir run
    same "$(row one 'r["status"]')" succeeded
    same "$(cat "$(find run/outputs -type f)")" 3
    same "$(result one)" "answer 3"
    expect 0 nightjar-replay show "$(bundle one)"
    has "1 is too small"
    has "2 is too small"
}

@test "an agent that does not repair fails, with the reason" {
    sed -i 's/attempts: 3/attempts: 2/' job.yaml
    expect 1 nightjar run job.yaml --run-dir run
    same "$(row one 'r["status"]')" failed
    same "$(row one 'r["error"]["kind"]')" accept
    [[ $(row one 'r["error"]["message"]') == *2* ]]
    same "$(find run/outputs -type f 2>/dev/null | wc -l)" 0 "outputs of a failed session"
}

@test "a check that hangs is ended" {
    sed -i 's/attempts: 3}/attempts: 1, timeout_seconds: 1}/' job.yaml
    echo 'sleep 100' >check/check.sh
    before=$SECONDS
    expect 1 nightjar run job.yaml --run-dir run
    same "$(row one 'r["error"]["kind"]')" accept
    [ $((SECONDS - before)) -lt 80 ]
}

@test "a check that does not exist is a refusal in words, not an engine's failure" {
    sed -i 's/bash, .check.check.sh/no-such-program/' job.yaml
    expect 1 nightjar run job.yaml --run-dir run
    same "$(row one 'r["error"]["kind"]')" accept
}

@test "what the check writes into the workspace is recorded and replayed" {
    echo 'echo judged >/workspace/judged; exit 0' >check/check.sh
    expect 0 nightjar run job.yaml --run-dir run
    expect 0 nightjar-replay verify "$(bundle one)"
}
