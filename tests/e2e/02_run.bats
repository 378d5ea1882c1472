# One session from manifest to bundle: what it leaves, exactly.

load ../lib/common

setup() {
    nj_setup
    skip_without namespaces
}
teardown() { nj_teardown; }

@test "a session runs, and its row tells what happened" {
    job_one bash <<<'echo $((6 * 7))'
    expect 0 nightjar run job.yaml --run-dir run
    same "$(wc -l <run/results.jsonl)" 1
    same "$(row one 'sorted(r)')" '["attempts", "bundle", "cost_usd", "error", "group", "key", "replay", "result", "status", "steps", "tokens"]'
    same "$(row one 'r["status"]')" succeeded
    same "$(result one)" 42
    same "$(row one 'r["error"]')" null
    same "$(row one '[r["group"], r["attempts"], r["steps"]]')" '["one", 1, 3]'
    same "$(row one '[r["tokens"]["input"], r["tokens"]["output"]]')" '[1900, 60]'
    same "$(row one 'float(r["cost_usd"])')" 0.0
}

@test "the row's replay command works as it stands" {
    job_one bash <<<'echo hello'
    expect 0 nightjar run job.yaml --run-dir run
    expect 0 bash -c "$(row one 'r["replay"]')"
}

@test "python runs" {
    job_one python <<<'import sys; print(sys.version_info.major, sum(range(10)))'
    expect 0 nightjar run job.yaml --run-dir run
    same "$(result one)" "3 45"
}

@test "node runs" {
    skip_without node
    job_one node <<<'console.log([3, 1, 2].sort().join("-"))'
    expect 0 nightjar run job.yaml --run-dir run
    same "$(result one)" "1-2-3"
}

@test "a program's failure goes to the agent in words" {
    job_one bash <<<'echo out; echo wrong >&2; exit 7'
    expect 0 nightjar run job.yaml --run-dir run
    [[ $(result one) == out*wrong*"exit status 7"* ]]
}

@test "a signal that ended a program is named" {
    job_one bash <<<'kill -SEGV $$'
    expect 0 nightjar run job.yaml --run-dir run
    [[ $(result one) == *SIGSEGV* ]]
}

@test "files go in, outputs come out, atomically and with their bytes" {
    head -c 100000 /dev/urandom >in.bin
    job_one bash "" 'files: [{source: in.bin, target: /workspace/in.bin}, {content: "text", target: /workspace/t}]' \
        'outputs: [/workspace/out/**]' \
        <<<'mkdir -p out/deep; cp in.bin out/deep/copy; cp t out/t; echo left >elsewhere'
    expect 0 nightjar run job.yaml --run-dir run
    same "$(find run/outputs -type f -name copy | wc -l)" 1
    cmp in.bin "$(find run/outputs -type f -name copy)"
    same "$(cat "$(find run/outputs -type f -name t)")" text
    same "$(find run/outputs -type f | wc -l)" 2
}

@test "files are placed with exactly the bytes they have" {
    printf 'a\0b\n\r\xff' >odd
    job_one python "" 'files: [{source: odd, target: /workspace/odd}]' <<<'print(open("odd","rb").read().hex())'
    expect 0 nightjar run job.yaml --run-dir run
    same "$(result one)" 6100620a0dff
}

@test "a mount is read-only in the box" {
    mkdir config && echo value >config/x
    job_one bash 'mounts: [{source: config, target: /config}]' <<<'cat /config/x; echo no >/config/x; echo no >/config/y; ls /config'
    expect 0 nightjar run job.yaml --run-dir run
    [[ $(result one) == value*"Read-only file system"*"Read-only file system"* ]]
    same "$(cat config/x)" value
    [ ! -e config/y ]
}

@test "the conversation goes on over several calls in one workspace" {
    cat >replies.yaml <<-'YAML'
	replies:
	  - {when: {turn: 1}, call: [{tool: code_execution, input: {language: bash, code: "echo one >f; echo tmp >/tmp/t; echo shm >/dev/shm/s"}}]}
	  - when: {turn: 2}
	    call:
	      - {tool: code_execution, input: {language: python, code: "open('f','a').write('two\\n')"}}
	      - {tool: code_execution, input: {language: bash, code: "cat f /tmp/t; ls /dev/shm | wc -l"}}
	  - say: "{last}"
	YAML
    cp replies.yaml kept.yaml
    job_one bash <<<'true'
    mv kept.yaml replies.yaml
    expect 0 nightjar run job.yaml --run-dir run
    same "$(result one)" $'one\ntwo\ntmp\n0'
    same "$(row one 'r["steps"]')" 6
}

@test "the bundle opens with tar and zstd, and its sums fit" {
    skip_without zstd
    job_one bash <<<'echo hello >f'
    expect 0 nightjar run job.yaml --run-dir run
    mkdir open
    tar -C open -xf "$(bundle one)"
    same "$(tar -tf "$(bundle one)" | head -n 1)" nightjar.json
    python3 -I -c 'import json,sys; d=json.load(open(sys.argv[1])); assert d["key"] == "one", d' open/nightjar.json
    (cd open && sha256sum --quiet -c SHA256SUMS)
    zstd -q -d -c open/journal.msgpack.zst >open/journal.msgpack
    [ -s open/journal.msgpack ]
    cmp job.yaml open/job.yaml
}

@test "a bundle is the same bytes whatever the time zone, umask and folder" {
    job_one bash <<<'echo hello >f'
    expect 0 nightjar run job.yaml --run-dir run
    expect 0 nightjar bundle run:one --output first.njb
    mkdir elsewhere
    (umask 077; cd elsewhere && TZ=Asia/Tokyo nightjar bundle ../run:one --output second.njb)
    cmp first.njb elsewhere/second.njb
    cmp first.njb "$(bundle one)"
}

@test "nothing of a run is open to anybody else" {
    job_one bash "" 'outputs: [/workspace/out/**]' <<<'mkdir out; echo x >out/x; chmod 777 out/x'
    expect 0 nightjar run job.yaml --run-dir run
    same "$(find run -type d ! -perm 0700)" ""
    same "$(find run -path run/outputs -prune -o -type f ! -perm 0600 -print)" ""
    same "$(find run/outputs -perm /077)" ""
    [ -s run/run.json ] && [ -s run/job.yaml ]
    python3 -I -m json.tool run/run.json >/dev/null
}

@test "a run without a name of its own gets one, with time and job" {
    job_one bash <<<'true'
    expect 0 nightjar run job.yaml
    [[ $(ls runs) =~ ^20[0-9]{2}-[0-9]{2}-[0-9]{2}T[0-9]{2}-[0-9]{2}-[0-9]{2}Z-test$ ]]
}

@test "a run directory that is in use is not used again" {
    job_one bash <<<'true'
    expect 0 nightjar run job.yaml --run-dir run
    before=$(cat run/results.jsonl)
    expect 2 nightjar run job.yaml --run-dir run
    has_err run
    same "$(cat run/results.jsonl)" "$before"
}

@test "many sessions end in plan order, each with its own result" {
    job_many 20
    expect 0 nightjar run job.yaml --run-dir run
    same "$(wc -l <run/results.jsonl)" 20
    same "$(python3 -c 'import json; print(" ".join(json.loads(l)["key"] for l in open("run/results.jsonl")))')" "$(seq -s ' ' -f %03g 1 20)"
    same "$(result 007)" "007: 7 METI"
    same "$(find run/outputs -type f | wc -l)" 40
    same "$(ls run/bundles/*.njb | wc -l)" 20
}

@test "one bad item fails with its reason, the others go on, and the exit is 1" {
    job_many 3
    sed -i 's/^replies:/replies:\n  - {when: {item.stem: "002"}, fail: refusal}/' replies.yaml
    expect 1 nightjar run job.yaml --run-dir run
    same "$(row 001 'r["status"]')" succeeded
    same "$(row 002 'r["status"]')" failed
    same "$(row 003 'r["status"]')" succeeded
    [ "$(row 002 'r["error"]["kind"]')" != null ]
    [[ $(row 002 'r["error"]["message"]') == *refus* ]]
    [ -n "$(row 002 'r["replay"]')" ]
}

@test "an overloaded model is tried again" {
    job_one bash <<<'echo fine'
    sed -i 's/^replies:/replies:\n  - {fail: overloaded, times: 2}/' replies.yaml
    NJ_SCRIPT_LOG=$PWD/log expect 0 nightjar run job.yaml --run-dir run
    same "$(result one)" fine
}

@test "the script log has one line for each delivered reply" {
    job_many 3
    NJ_SCRIPT_LOG=$PWD/log expect 0 nightjar run job.yaml --run-dir run
    same "$(wc -l <log)" 9
}

@test "a session may have no tool call at all" {
    job_one bash <<<'true'
    printf 'replies:\n  - say: "Nothing to do for {item.none}."\n' >replies.yaml
    expect 0 nightjar run job.yaml --run-dir run
    same "$(result one)" "Nothing to do for {item.none}."
}

@test "an unknown tool is refused in words the agent can act on" {
    job_one bash <<<'true'
    cat >replies.yaml <<-'YAML'
	replies:
	  - {when: {turn: 1}, call: [{tool: shell, input: {}}]}
	  - say: "{last}"
	YAML
    expect 0 nightjar run job.yaml --run-dir run
    [[ $(result one) == *shell*code_execution* ]]
}

@test "progress goes to standard error, nothing to standard output but data" {
    job_many 3
    expect 0 nightjar run job.yaml --run-dir run
    has_err 001
    [[ $out != *001* ]]
}

@test "nothing of a run is left outside its folder: no process, no mount" {
    local nap before
    nap=$(nap 1000) before=$(mounts)
    job_one bash <<<"(setsid sleep $nap &) ; sleep $nap & echo started"
    expect 0 nightjar run job.yaml --run-dir run
    same "$(result one)" started
    same "$(mounts)" "$before" mounts
    none_asleep "$nap" || complain "a process of the run lives on"
}
