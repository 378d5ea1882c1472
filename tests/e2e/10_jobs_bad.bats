# Manifests, item files and keys that nobody should write: memory stays bounded, nothing leaves the run, and
# one clear line says what is wrong and where.
#
# once: reading a manifest is nobody's right

load ../lib/common

head='nightjar: 1
models: {offline: [{provider: script, script: replies.yaml}]}
agents: {w: {model: offline}}
'

setup() {
    nj_setup
    echo 'replies: [{say: done}]' >replies.yaml
}
teardown() { nj_teardown; }

# group LIST KEY - job.yaml with one group over LIST
group() { printf '%ssessions:\n  - {name: g, agent: w, key: "%s", input: go, for_each: {%s}}\n' "$head" "$2" "$1" >job.yaml; }

# within MB COMMAND... - run it, and complain when it took more memory than that; exit as it does
within() {
    local most=$1 status=0
    shift
    python3 -ISc 'import resource,subprocess,sys
r=subprocess.run(sys.argv[2:]).returncode
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss//1024, file=open(sys.argv[1],"w"))
sys.exit(r)' "$BATS_TEST_TMPDIR/mb" "$@" || status=$?
    # A sanitizer has memory of its own beside each byte.
    [ "$NJ_SLOW" -gt 1 ] || [ "$(cat "$BATS_TEST_TMPDIR/mb")" -le "$most" ] || complain "$(cat "$BATS_TEST_TMPDIR/mb") MB" || return 99
    return "$status"
}

@test "ten megabytes of long keys that begin alike are all told apart" {
    python3 -Ic 'import sys
sys.stdout.write(sys.argv[1]+"sessions:\n  - name: g\n    agent: w\n    key: \"{item.value}\"\n    input: go\n    for_each:\n      values:\n")
for i in range(99000): print("        - \"%s%06d\"" % ("x"*90, i))' "$head" >job.yaml
    [ "$(stat -c %s job.yaml)" -gt 10000000 ]
    expect 0 within 400 nightjar check job.yaml
    has_out "group g: 99000 sessions"
}

@test "manifests beyond a limit are refused before what exceeds it is kept" {
    local code what weigh
    while IFS='|' read -r code what; do
        python3 -ISc "import sys; head=sys.argv[1]; sys.stdout.write($code)" "$head" >job.yaml
        # Only the large ones are weighed: each costs another start of Python.
        weigh=()
        [[ $code != *"<<20"* ]] || weigh=(within 120)
        expect 2 "${weigh[@]}" nightjar check job.yaml
        has_err "$what"
        [ "$(wc -l <"$BATS_TEST_TMPDIR/err")" -le 21 ] || complain "too many lines"
    done <<-'CASES'
	head+"# "+"x"*(17<<20)|more than 16777216 bytes
	head+"sessions: [{name: g, agent: w, input: "+"y"*(10<<20)+"}]"|sessions[0].input: has 10485760 bytes, at most 1048576 are allowed
	head+"".join("bad%d: 1\n"%i for i in range(200000))|and 199981 more faults
	head+"sessions: "+"["*100000|nested too deeply
	"{\"nightjar\":1,\"agents\":"+"{\"a\":"*50000|nested too deeply
	head+"sessions: [{name: g, agent: w, key: \"{item.value}\", input: go, for_each: {values: ["+",".join(str(i) for i in range(100001))+"]}}]"|at most 100000 items are allowed, found 100001
	head+"sessions: [{name: g, agent: w, input: [go"|job.yaml:
	CASES
}

@test "item files that are no text, or never end, are named by line" {
    local code list what weigh
    while IFS='|' read -r code list what; do
        python3 -ISc "import sys; sys.stdout.buffer.write($code)" >items
        group "$list" '{item.id}'
        # Only the large ones are weighed: each costs another start of Python.
        weigh=()
        [[ $code != *"<<20"* ]] || weigh=(within 120)
        expect 2 "${weigh[@]}" nightjar check job.yaml
        has_err "$what"
    done <<-'CASES'
	b'id,t\n1,"'+b'z'*(10<<20)+b'"\n'|csv: items|items: line 2: field 2 makes the row longer than 1048576 bytes
	b'id,t\n1,"'+b'z'*(10<<20)|csv: items|items: line 2: a quoted field is never closed
	b'id,t\na,b\x00c\n'|csv: items|items: line 2: field 2 holds a NUL character
	b'id,t\na,b\xff\n'|csv: items|items: line 2: field 2 is not UTF-8
	'id,t\na,b\n'.encode('utf-16')|csv: items|items: this is UTF-16: save the file as UTF-8
	b','.join(b'c%d'%i for i in range(100000))|csv: items|items: line 1: more than 1024 fields
	b'id,id\na,b\n'|csv: items|items: the header has the field id twice
	b'{"id":"'+b'q'*(10<<20)+b'"}\n'|lines: items|items:1: the line is longer than 1048576 bytes
	b'{"id":"a\\u0000b"}\n'|lines: items|items:1: character 15: a text holds a NUL character
	b'{"id":'+b'['*200000+b'\n'|lines: items|items:1: character 22: nested too deeply
	b'{"id":1}\n{"id":2\n'|lines: items|items:2: character
	CASES
}

@test "keys that could drive a terminal or cannot be filed are refused, escaped" {
    local value what
    while IFS='|' read -r value what; do
        group "values: [{k: $value}]" '{item.k}'
        expect 2 nightjar check job.yaml
        has_err "sessions[0].key"
        has_err "$what"
        ! LC_ALL=C grep -q "$(printf '[\001-\011\013-\037\177]')" "$BATS_TEST_TMPDIR/err"
    done <<-'CASES'
	"a\nb"|the key a\nb holds a control character
	"a\e[31mb"|the key a\x1b[31mb holds a control character
	"a\x7fb"|the key a\x7fb holds a control character
	"a\u0085b"|the key a\x85b holds a control character
	"a\u202Eb"|the key a\u202eb holds a control character
	""|the key is empty
	CASES
    group "values: [{k: $(printf 'k%.0s' {1..300})}]" '{item.k}'
    expect 2 nightjar check job.yaml
    has_err "is longer than 255 bytes"
    group 'values: [{k: a}, {k: b}, {k: a}]' '{item.k}'
    expect 2 nightjar check job.yaml
    has_err "the key a"
}

@test "keys with slashes, dots, dashes and case twins each get files of their own, inside the run" {
    group 'values: ["a/b/../../../etc", "..", ".", "-rf", "a:b", Case, case, CASE, "\u00e9", "e\u0301", "~root", "$HOME", "*"]' '{item.value}'
    expect 0 nightjar run --run-dir run job.yaml
    [ "$(wc -l <run/results.jsonl)" = 13 ]
    [ "$(ls run/bundles | sort -u | wc -l)" = 13 ]
    [ "$(ls run/bundles | tr A-Z a-z | sort -u | wc -l)" = 13 ]
    ! ls -A run/bundles | grep -v '^[a-z0-9][a-z0-9._-]*\.njb$'
    [ "$(ls -A | xargs)" = "job.yaml replies.yaml run" ]
    expect 0 nightjar-replay verify "run:a/b/../../../etc" run:.. run:-rf run:CASE
    [ "$(tail -n +2 run/joblog.tsv | cut -f4 | sort | uniq -d | wc -l)" = 0 ]
}
