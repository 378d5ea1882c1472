# One job out of several places: anchors, included files, declared variables, --set and --only; and the
# run's own job.yaml, which needs none of them any more.
#
# once: a manifest is put together alike by everybody

load ../lib/common

setup() {
    nj_setup
    cat >replies.yaml <<-YAML
	replies:
	  - {say: "{item.value}"}
	YAML
    cat >job.yaml <<-YAML
	nightjar: 1
	job: parts
	x-box: &box {max_memory_mb: 256, max_processes: 32}
	models: {worker: [{provider: script, script: replies.yaml}]}
	agents:
	  tester.one:
	    model: worker
	    sandbox: {<<: *box, max_processes: 64}
	sessions:
	  - name: letters
	    agent: tester.one
	    for_each: {values: [a, b, b2]}
	    key: "{item.value}"
	    input: "Go."
	limits: {sessions: 4}
	YAML
}
teardown() { nj_teardown; }

keys() { python3 -Ic 'import json,sys; print(*(json.loads(l)["key"] for l in open("run/results.jsonl")))'; }

@test "anchors and merge keys stand for what they name" {
    expect 0 nightjar check job.yaml
    has_out "256 MiB of memory, 64 processes"
    sed -i 's/\*box/*bx/' job.yaml
    expect 2 nightjar check job.yaml
    has_err "alias *bx: there is no anchor &bx before it"
}

@test "limits, retries and how long a run is kept are explained" {
    sed -i 's/^limits:.*/limits: {sessions: 4, fail_over: 0.125, disk_free_mb: 77}\nretry: {attempts: 3, backoff_seconds: 5}\narchive: {retain: 2d}/' job.yaml
    expect 0 nightjar check job.yaml
    has_out "until       more than 12.5 % of the sessions failed"
    has_out "no session begins with less than 77 MB free"
    has_out "failed by   engine, model: 3 attempts, 5 s apart, doubling up to 10 min"
    has_out "kept for    2 d"
}

@test "everything that decides a run is explained, in lines that fit a terminal" {
    cat >replies.yaml <<<'replies: [{say: done}]'
    cat >job.yaml <<-'YAML'
	nightjar: 1
	models:
	  worker:
	    return: {after_seconds: 300}
	    chain:
	      - {provider: anthropic, model: large, credential: service, context_tokens: 200000, price: {input: 3, output: 15}, rate: {concurrent: 16}}
	      - {provider: openai, model: small, base_url: "http://127.0.0.1:9/v1", when: [overloaded]}
	  offline: [{provider: script, script: replies.yaml}]
	credentials:
	  service: {env: NJ_NOT_THERE}
	  other: {env: NJ_NOT_USED}
	agents:
	  worker:
	    model: worker
	    context: {policy: compact, at: 0.75}
	    tools: [{type: code_execution, languages: [bash], timeout_seconds: 77}]
	    limits: {sessions: 20, budget_usd: 12.5, session_budget_usd: 0.25, turns: 40}
	sessions:
	  - name: first
	    agent: worker
	    for_each: {values: [{id: a, turns: 3, tier: offline}, {id: b}]}
	    key: "{item.id}"
	    override: {model: "{item.tier}", limits: {turns: "{item.turns}"}}
	    input: "Go."
	    accept: {command: ["true"], attempts: 5}
	    limits: {budget_usd: 0.000001}
	    retry: {attempts: 2, on: [accept], backoff_seconds: 90}
	  - {name: second, agent: worker, after: [first], input: "{results}"}
	limits: {budget_usd: 20, deadline: "06:00 UTC"}
	archive: {inputs: reference}
	YAML
    expect 0 nightjar check job.yaml --plan
    cp "$BATS_TEST_TMPDIR/out" told
    has_out "each        3 to 40 turns, 0.25 USD, 3600 s of tool time"
    has_out "override    model {item.tier}, turns {item.turns}"
    has_out "together    0.000001 USD"
    has_out "together    20 sessions alive at once, 12.50 USD"
    has_out "failed by   accept: 2 attempts, 90 s apart, doubling up to 10 min"
    has_out "after       first"
    has_out "tools       code_execution (bash; 77 s a call)"
    has_out "prompts     cut to below 150000 tokens"
    has_out "first       anthropic large; credential service; 3.00 USD in and 15.00"
    has_out "then        openai small at http://127.0.0.1:9/v1 after overloaded; no price"
    has_out "first       script replies.yaml"
    has_out "back        5 min after a later one answered"
    has_out "the variable NJ_NOT_THERE, which is NOT SET here"
    hasnt "NJ_NOT_USED"
    has_out "until       20.00 USD are spent"
    has_out "until       06:00 UTC, in "
    has_out "bundles     name the inputs by digest only"
    [ "$(grep -c '^system calls:' told)" = 1 ] # all boxes have them in common
    ! grep -nE '^.{80}' told | grep -v 'inputs of the' >&2
}

@test "aliases that unfold without end are refused" {
    {
        echo 'x-0: &x0 [a, b, c, d, e, f, g, h, i, j]'
        for i in 1 2 3 4 5 6 7 8; do
            echo "x-$i: &x$i [*x$((i - 1)), *x$((i - 1)), *x$((i - 1)), *x$((i - 1)), *x$((i - 1)), *x$((i - 1)), *x$((i - 1)), *x$((i - 1))]"
        done
        cat job.yaml
    } >bomb.yaml
    expect 2 nightjar check bomb.yaml
    has_err "too many values in one file"
}

@test "--set changes what the manifest says, and the run keeps it" {
    expect 0 nightjar run --run-dir run --set sessions.letters.first=2 --set agents.tester.one.limits.turns=7 \
        --set limits.sessions= --set 'sessions[0].input="Went."' job.yaml
    [ "$(keys)" = "a b" ]
    grep -q "turns: 7" run/job.yaml
    grep -q 'input: "Went."' run/job.yaml
    rm job.yaml
    expect 0 nightjar resume run
}

@test "--set that leads nowhere names the nearest place, and no agent is made by a typing error" {
    expect 2 nightjar run --run-dir run --set agents.tester.two.model=worker job.yaml
    has_err "--set agents.tester.two.model=worker: agents.tester.two.model: agents has no tester"
    expect 2 nightjar check --set sessions.leters.first=2 job.yaml
    has_err "sessions has no leters; did you mean sessions.letters?"
    expect 2 nightjar check --set 'sessions[3].first=2' job.yaml
    has_err "sessions has 1 entries, counted from 0"
    expect 2 nightjar check --set limits.session=2 --set limits.sessions=many --set nonsense job.yaml
    has_err "--set limits.session=2: limits.session: unknown key; did you mean sessions?"
    has_err "--set limits.sessions=many: limits.sessions: expected a whole number from 1 to 100000, found \"many\""
    has_err "--set nonsense: nonsense: expected PATH=VALUE"
    [ ! -e run ]
}

@test "--only chooses sessions by key and pattern, and the run stays with them" {
    expect 0 nightjar run --run-dir run --only 'b*' job.yaml
    [ "$(keys)" = "b b2" ]
    grep -q 'only: \["b\*"\]' run/job.yaml
    expect 0 nightjar resume run
    [ "$(keys)" = "b b2" ]
    expect 2 nightjar check --only bb2 job.yaml
    has_err "no session has the key bb2; did you mean b2?"
}

@test "--only of a summary says what it waits for" {
    printf '  - {name: sum, agent: tester.one, after: [letters], input: "{results}"}\n' >tail
    sed -i -e '/^limits/{r tail' -e 'N}' job.yaml
    python3 -Ic 't=open("job.yaml").read(); a=t.index("limits:"); b=t.index("  - {name: sum"); open("job.yaml","w").write(t[:a]+t[b:]+t[a:b])'
    expect 2 nightjar check --only sum job.yaml
    has_err "sum comes after letters, of which nothing is chosen"
    expect 0 nightjar check --only sum --only a job.yaml
}

@test "included files bring entries in; the manifest's own count" {
    mkdir parts
    cat >parts/models.yaml <<-YAML
	models:
	  worker: [{provider: script, script: nowhere.yaml}]
	  other: [{provider: script, script: replies.yaml}]
	limits: {sessions: 2, tool_calls: 1}
	YAML
    echo 'include: parts/models.yaml' >>job.yaml
    expect 0 nightjar run --run-dir run job.yaml
    grep -q "  other:" run/job.yaml
    grep -q "  tool_calls: 1" run/job.yaml
    grep -q "  sessions: 4" run/job.yaml
    rm -r parts
    expect 0 nightjar resume run
}

@test "includes that climb, go in circles or hold faults are refused by their own name" {
    echo 'include: [a.yaml]' >>job.yaml
    echo 'include: [b.yaml]' >a.yaml
    printf 'include: [a.yaml]\nlimits: {sesions: 3}\n' >b.yaml
    expect 2 nightjar check job.yaml
    has_err "b.yaml:1:11: include[0]: files include each other in a circle: a.yaml, b.yaml, a.yaml"
    echo 'limits: {sesions: 3}' >b.yaml
    expect 2 nightjar check job.yaml
    has_err "b.yaml:1:10: limits.sesions: unknown key; did you mean sessions?"
    ln -sf /etc/hostname b.yaml
    expect 2 nightjar check job.yaml
    has_err "leads out of the manifest's directory"
    sed -i 's/a.yaml/..\/a.yaml/' job.yaml
    expect 2 nightjar check job.yaml
    has_err "climbs out of the manifest's directory"
}

@test "declared variables are put into texts, and never the secret of a credential" {
    printf 'env: {REGION: eu, NIGHT: null}\n' >>job.yaml
    sed -i 's/Go\./In {env.REGION} on {env.NIGHT}./' job.yaml
    expect 2 nightjar check job.yaml
    has_err "env.NIGHT: the variable NIGHT is not set"
    NIGHT=friday expect 0 nightjar run --run-dir run job.yaml
    grep -q "In eu on friday." run/job.yaml
    NIGHT='{item.value}' expect 2 nightjar check job.yaml
    has_err "its value holds a brace"
    sed -i 's/env.NIGHT}/env.NIHGT}/' job.yaml
    NIGHT=friday expect 2 nightjar check job.yaml
    has_err "{env.NIHGT} is not declared in env; did you mean NIGHT?"
    printf 'credentials: {key: {env: NIGHT}}\n' >>job.yaml
    NIGHT=friday expect 2 nightjar check job.yaml
    has_err "NIGHT holds the secret of a credential"
}
