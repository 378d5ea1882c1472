# The same code gives the same bytes: a session that prints times, numbers of chance, pids and addresses is lived again,
# from its bundle, by another user, after evictions, and after the engine was killed in the middle of it.

load ../lib/common

setup() {
    nj_setup
    skip_without namespaces
    skip_without fuse
    cat >replies.yaml <<-'YAML'
	replies:
	  - when: {turn: 1}
	    call:
	      - {tool: code_execution, input: {language: bash, code: "date +%s.%N; echo $RANDOM $EPOCHREALTIME $$; mktemp /workspace/XXXXXXXX; head -c 16 /dev/urandom | od -An -tx1; cat /proc/sys/kernel/random/uuid /proc/uptime; sleep 0.2; date; nproc; date +%N >/workspace/when"}}
	      - {tool: code_execution, input: {language: python, code: "import os, random, tempfile, time, uuid\nprint(time.time(), time.monotonic(), uuid.uuid4(), random.random(), os.urandom(8).hex(), hash('x'), id(object()), os.getpid(), tempfile.mktemp(), os.cpu_count())\nopen('/workspace/py', 'w').write(str(time.time_ns()))"}}
	  - when: {turn: 2}
	    call: [{tool: code_execution, input: {language: bash, code: "date +%s.%N; cat /workspace/when /workspace/py; ls -i /workspace | wc -l"}}]
	  - say: "Done."
	YAML
    cat >job.yaml <<-'YAML'
	nightjar: 1
	job: again
	models: {worker: [{provider: script, script: replies.yaml}]}
	agents: {a: {model: worker, reproducible: D1, tools: [{type: code_execution}]}}
	sessions: [{name: s, agent: a, key: s, input: "Go.", accept: {command: [sh, -c, "date +%N >&2; grep -q . /workspace/when"]}}]
	YAML
}
teardown() { nj_teardown; }

# reached LEVEL - every call of the bundle reached it, when recorded and here
reached() {
    expect 0 nightjar-replay verify --json "$B"
    python3 -I -c 'import json, sys
v = json.loads(sys.argv[1])
if v["level_reached"] == "D0" and any("listener" in l["reached_lowered"] or "ptrace" in l["reached_lowered"] for l in v["levels"]):
    sys.exit(3)
sys.exit(0 if v["verdict"] == "equal" and len(v["levels"]) == 4 and all(l["applied"] == l["recorded"] == l["reached"] == sys.argv[2] for l in v["levels"]) else 1)' "$out" "$1" || {
        [ $? -eq 3 ] && skip "this host cannot follow programs: $out"
        complain "not every step reached $1: $out"
    }
}

# run_it [VAR=VALUE...] - the job, and B is its bundle
run_it() {
    expect 0 env "$@" nightjar run job.yaml --run-dir run
    B=$(bundle s)
}

@test "time, chance, pids and addresses are the same again, twice" {
    run_it
    reached D1
    reached D1
    expect 0 nightjar-replay show "$B@2"
    has_out "level D1"
}

# bend STATEMENT... - bent.njb is the bundle with these statements carried out
bend() { python3 -I "$NJ_ROOT/tests/lib/bundle.py" edit "$B" bent.njb "$@"; }
# of_date STATEMENT - one for bend, about d: what nightjar.json tells of the file date
of_date() { printf 'n = "nightjar.json"; a = json.loads(b.members[n]); r = a["environment"]["ran"]; d = r[next(p for p in r if p.endswith("/date"))]; %s; b.members[n] = json.dumps(a, indent=2).encode() + b"\\n"' "$1"; }
LIE='o = b.events("tool-done")[0]["body"]["outcome"]["out"]; o["head"] = b"3" + o["head"][1:]'

@test "where udev has not opened /dev/fuse, boxes of an engine that root started have it" {
    skip_without root
    mknod -m 600 fuse c 10 229 2>/dev/null || skip "this root makes no device nodes"
    cat >closed <<-'SH'
	mount --bind fuse /dev/fuse
	[ "$(stat -c %a /dev/fuse)" = 600 ] && nightjar run job.yaml --run-dir run && [ "$(stat -c %a /dev/fuse)" = 600 ] || exit 9
	nightjar doctor | grep "files of our own"
	SH
    expect 0 unshare -m bash closed
    has_out "ok        files of our own"
    B=$(bundle s)
    reached D1
}

@test "what ran is told by digest, and what ran as another file makes a difference exit 5" {
    # Of a call that was refused nothing ran.
    sed -i 's/^  - say: "Done."/  - when: {turn: 3}\n    call: [{tool: no_such_tool, input: {}}]\n&/' replies.yaml
    run_it
    reached D1
    expect 0 nightjar-replay show "$B@2"
    has_out "ran, of the host"
    has_out "/bin/date"
    expect 0 nightjar-replay show --json "$B@2"
    has_out '"ran":'
    tar xOf "$B" nightjar.json >about
    python3 -I -c 'import hashlib, json
about = json.load(open("about"))["environment"]
ran = about["ran"]
assert sorted(about["interpreters"]) == ["bash", "python3"], about["interpreters"] # node did not run
for program in about["interpreters"].values():
    assert program["sha256"] == ran[program["path"]]["sha256"], program
assert any("/date" in p for p in ran) and any("ld-linux" in p for p in ran) and any("/libc.so" in p for p in ran), ran
for path, file in ran.items():
    assert file["sha256"] == hashlib.sha256(open(path, "rb").read()).hexdigest(), path'
    bend "$(of_date 'd["sha256"] = "00" * 32; d["package"] = "coreutils 0.1"')"
    expect 0 nightjar-replay verify bent.njb
    has_out "/bin/date: recorded coreutils 0.1"
    bend "$(of_date 'd["sha256"] = "00" * 32')" "$LIE"
    expect 5 nightjar-replay verify bent.njb
    has_out "environment differs"
    bend "$LIE"
    expect 1 nightjar-replay verify bent.njb
}

# What ran has its time in the list, and a program in memory is of another time whenever it runs: so it is with each
# file of another host, or behind an upgrade.
@test "programs of other times, and with names that are no text, run: the session has its bundle, which is equal" {
    cat >replies.yaml <<-'YAML'
	replies:
	  - when: {turn: 1}
	    call: [{tool: code_execution, input: {language: bash, code: "for name in $'\\xfe' $'\\xff'; do cp /bin/true /tmp/$name; /tmp/$name || exit 1; done; python3 -c 'import os, sys\nfor name in (b\"\\xfe\", b\"\\xff\"):\n    try: fd = os.memfd_create(os.fsdecode(name))\n    except OSError: sys.exit(\"no \" + \"memfd\")\n    os.write(fd, open(\"/bin/true\", \"rb\").read())\n    if os.fork() == 0: os.execve(fd, [\"x\"], {})\n    if os.wait()[1] != 0: sys.exit(1)'"}}]
	  - say: "Done: {last}"
	YAML
    sed -i 's/, accept:.*}/}/' job.yaml
    run_it
    expect 0 nightjar-replay show "$B@2"
    [[ $out != *"no memfd"* ]] || skip "boxes have no memfd where no cgroup counts its memory"
    has_out "exit status 0"
    has_out 'memfd:\xff'
    expect 0 nightjar-replay fsck "$B"
    expect 0 nightjar-replay verify "$B"
}

@test "another user sees the same, on another processor, with the bundle not in memory, of a session that was evicted" {
    skip_without root
    sed -i -e 's/reproducible: D1/reproducible: D2/' job.yaml
    run_it NJ_TEST_EVICT_ALWAYS=1
    chmod 755 "$BATS_RUN_TMPDIR" "$BATS_FILE_TMPDIR" "$BATS_TEST_TMPDIR" "$PWD" 2>/dev/null
    cp "$B" mine.njb && chmod 644 mine.njb
    cp "$NJ_BUILD"/bin/{nightjar-replay,nj-sandbox} . && chmod 755 nightjar-replay nj-sandbox
    dd if=mine.njb iflag=nocache count=0 status=none
    processors=$(taskset -cp $$)
    expect 0 taskset -c "${processors##*[ ,-]}" setpriv --reuid 65534 --regid 65534 --clear-groups \
        ./nightjar-replay verify "$PWD/mine.njb"
    has_out equal
}

@test "a session whose boxes were evicted at every step verifies as any other" {
    run_it NJ_TEST_EVICT_ALWAYS=1
    reached D1
}

@test "at D2 files have the same times and numbers, too, over calls and evictions" {
    sed -i -e 's/reproducible: D1/reproducible: D2/' job.yaml
    sed -i -e 's/sleep 0.2;/stat -c %y-%i .; tar cf - . | sha256sum;/' -e 's/ls -i .workspace | wc -l/ls -li --full-time; tar cf - . | sha256sum/' replies.yaml
    run_it NJ_TEST_EVICT_ALWAYS=1
    reached D2
}

@test "at D3 what runs side by side comes in the same order, and waiting takes no time" {
    sed -i -e 's/reproducible: D1/reproducible: D3/' job.yaml
    sed -i -e 's/sleep 0.2;/for i in 1 2 3 4; do (sleep 0.00$i; echo $i $BASHPID; echo $i >\&2) \& done; wait; sleep 3000;/' replies.yaml
    # Without the order it differs each time; how seldom with it the bench counts.
    for _ in 1 2 3; do
        rm -rf run
        run_it NJ_TEST_EVICT_ALWAYS=1
        out=$(nightjar-replay verify --json "$B") || true
        [[ $out != *'"verdict":"equal"'* || $out != *'"level_reached":"D3"'* ]] || break
    done
    reached D3
    # The first call writes to both streams: how they took turns is part of it.
    bend 'b.events("tool-done")[0]["meta"]["order"] = bytes(31) + b"1"'
    for _ in 1 2 3; do # a busy machine may not keep the order, and then it is not compared
        out=$(nightjar-replay verify bent.njb) || true
        [[ $out != *"took turns in writing otherwise"* ]] || break
    done
    has_out "took turns in writing otherwise"
    has_out "order: who wrote first"
}

# killed_in_its_call - a run, while its call sleeps
killed_in_its_call() {
    local nap
    nap=$(nap 4)
    sed -i "s/sleep 0.2;/sleep $nap;/" replies.yaml
    begin nightjar run job.yaml --run-dir run
    until_true 20 asleep "$nap"
    kill -KILL "$begun"
    ended 137
}

@test "a call that a crash repeats starts at the same time with the same chances" {
    killed_in_its_call
    expect 0 nightjar resume run
    B=$(bundle s)
    reached D1
}

@test "what a build without the layer recorded goes on without it" {
    sed -i 's/reproducible: D1/reproducible: D2/' job.yaml
    NJ_TEST_NO_LAYER=1 killed_in_its_call
    expect 0 nightjar resume run
    B=$(bundle s)
    expect 0 nightjar-replay show "$B"
    has_out "level     D2, declared, not applied"
    expect 0 nightjar-replay show "$B@2"
    hasnt "level D"
    expect 0 nightjar-replay fsck "$B"
}

@test "two calls of one session, and two sessions, do not draw the same" {
    sed -i 's/, key: s,/, key: "s{item.n}", for_each: {lines: items},/' job.yaml
    printf '{"n": 1}\n{"n": 2}\n' >items
    expect 0 nightjar run job.yaml --run-dir run
    one=$(nightjar-replay show "$(bundle s1)@2" | sed -n '/standard output/,/standard error/p' | grep -E '^ +[0-9a-f]{8}-|/workspace/')
    two=$(nightjar-replay show "$(bundle s2)@2" | sed -n '/standard output/,/standard error/p' | grep -E '^ +[0-9a-f]{8}-|/workspace/')
    [ -n "$one" ] && [ "$one" != "$two" ]
}

look_at_schedstat() { sed -i 's/date +%s.%N; echo $RANDOM.*nproc; /cat \/proc\/self\/schedstat; /' replies.yaml; }

@test "a program that looks at the kernel's own figures is named when it differs" {
    grep -qvx '0 0 0' /proc/self/schedstat 2>/dev/null || skip "this kernel keeps no figures in schedstat"
    look_at_schedstat
    run_it
    expect 0 nightjar-replay show "$B@2"
    [[ $out == *"level D1"* ]] || skip "this host cannot follow programs"
    [[ $out != *"not all heard"* ]] || skip "this user has no inotify left: another suite may have it all"
    has_out "the kernel's: schedstat"
    expect 1 nightjar-replay verify "$B"
    has_out "a program opened in /proc/PID"
}

@test "where nobody can listen for that, the record says so" {
    look_at_schedstat
    # A user namespace of our own, whose limit is ours to set, and in it one where we are nobody special.
    expect 0 unshare --user --map-root-user sh -c 'echo 0 >/proc/sys/user/max_inotify_instances; exec "$@"' - \
        unshare --user --map-user=1000 --map-group=1000 nightjar run job.yaml --run-dir run
    B=$(bundle s)
    expect 0 nightjar-replay show "$B@2"
    [[ $out == *"level D1"* ]] || skip "this host cannot follow programs"
    has_out "what programs opened in /proc/PID was not all heard"
    hasnt "the kernel's: schedstat"
    expect 0 nightjar-replay show --json "$B@2"
    has_out '"kernel_figures_all_heard":false'
}

@test "without the layer it differs, and verify says in what" {
    run_it NJ_TEST_LEVEL=0
    expect 1 nightjar-replay verify "$B"
    has_out "likely source of the first: time"
    has_out "without the reproducible layer"
    # Nobody knows what ran: each interpreter that could have is named.
    tar xOf "$B" nightjar.json >about
    python3 -I -c 'import json, os
about = json.load(open("about"))["environment"]
assert "ran" not in about
assert sorted(about["interpreters"]) == [name for name in ("bash", "node", "python3")
                                         if any(os.access(f"{folder}/{name}", os.X_OK) for folder in ("/usr/local/bin", "/usr/bin", "/bin"))]'
}
