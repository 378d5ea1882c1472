# check --online: every model, key and host tried once, before a night depends on them.
#
# once: HTTP is the same for everybody

load ../lib/common
load ../lib/model_server

setup() {
    nj_setup
    export NJ_TEST_KEY=key-$RANDOM$RANDOM$RANDOM NJ_POOR_KEY=poor-$RANDOM$RANDOM$RANDOM
    models_serve server <<<"{\"accounts\": {\"$NJ_TEST_KEY\": \"ok\", \"$NJ_POOR_KEY\": \"empty\"}, \"models\": {\"m1\": {}, \"m2\": {}},
        \"replies\": [{\"say\": \"Hello.\"}]}"
}
teardown() { nj_teardown; }

# job_of CHAIN - a job whose models stand in a file of their own
job_of() {
    mkdir -p items
    echo 1 >items/1.txt
    printf 'models:\n  worker:\n%s\n' "$1" >models.yaml
    cat >job.yaml <<-'YAML'
	nightjar: 1
	job: online
	include: models.yaml
	credentials:
	  key: {env: NJ_TEST_KEY}
	  poor: {env: NJ_POOR_KEY}
	agents:
	  tester: {model: worker, instructions: "Do."}
	sessions:
	  - {name: items, agent: tester, for_each: {glob: "items/*.txt"}, key: "{item.stem}", input: "go"}
	YAML
}

model() { # KEYS
    printf '    - {base_url: "%s", %s}\n' "${base:-$models_url}" "$1"
}

@test "what answers is told, each service once, and nothing is paid where tokens can be counted" {
    job_of "$(model 'provider: anthropic, model: m1, credential: key, capabilities: {count_tokens: true}'
        model 'provider: anthropic, model: m2, credential: key'
        model 'provider: anthropic, model: m1, credential: key'
        base=$models_url/v1 model 'provider: openai, model: m1, credential: key')"
    expect 0 nightjar check --online job.yaml
    models_sound
    has_out "models.worker[0]: anthropic:m1 at $models_url, credentials.key answers"
    has_out "free of charge"
    has_out "models.worker[1]: anthropic:m2"
    has_out "models.worker[3]: openai:m1"
    same "$(models_log_of 'len(asked)')" 3 "calls"
    hasnt "$NJ_TEST_KEY"
}

@test "what does not is a fault with its place and cure, and the others are tried all the same" {
    job_of "$(model 'provider: anthropic, model: m1, credential: key'
        model 'provider: anthropic, model: m9, credential: key'
        model 'provider: anthropic, model: m1, credential: poor'
        model 'provider: anthropic, model: m1, max_tokens: 100'
        base=http://127.0.0.1:1 model 'provider: anthropic, model: m1, credential: key')"
    expect 2 nightjar check --online job.yaml
    has_out "models.worker[0]: anthropic:m1"
    has_err "models.yaml:4:"
    has_err "models.worker[1]: anthropic:m9 at $models_url, credentials.key: there is no such model or path (404)"
    has_err "the account is empty (402)"
    has_err "the key was not accepted (401)"
    has_err "models.worker[4]: anthropic:m1 at http://127.0.0.1:1"
    hasnt "$NJ_TEST_KEY"
    hasnt "$NJ_POOR_KEY"
}

@test "a key that cannot be had is named with its line" {
    job_of "$(model 'provider: anthropic, model: m1, credential: key')"
    expect 2 env -u NJ_TEST_KEY nightjar check --online job.yaml
    has_err "credentials.key"
    has_err "NJ_TEST_KEY"
    same "$(models_log_of 'len(asked)')" 0 "calls"
}
