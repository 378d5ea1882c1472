# One job out of several places: anchors, included files, declared variables, --set and --only; and the
# run's own job.yaml, which needs none of them any more.

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
    has_out "stops when more than 12.5 % of the sessions failed"
    has_out "no session begins with less than 77 MB free"
    has_out "a failed session is begun 3 times at most, after 5 s and up to 600 s"
    has_out "kept for 48 h"
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
