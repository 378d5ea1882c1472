# Items: JSON lines, CSV, values, matrices; filters and overrides; what is wrong with one row is named
# with its line, and nothing starts.
#
# once: rows are read alike by everybody

load ../lib/common

setup() {
    nj_setup
    printf 'replies:\n  - {say: "%s"}\n' '{item.id} {item.name}' >replies.yaml
    job 'for_each: {csv: items.csv}' 'key: "{item.id}"' 'input: "Look at {item.name}."'
}
teardown() { nj_teardown; }

# job LINE... - job.yaml with one group of these lines
job() {
    cat >job.yaml <<-YAML
	nightjar: 1
	job: items
	models:
	  worker: [{provider: script, script: replies.yaml}]
	  better: [{provider: script, script: better.yaml}]
	agents: {tester: {model: worker}}
	sessions:
	  - name: rows
	    agent: tester
	YAML
    printf '    %s\n' "$@" >>job.yaml
    printf 'replies:\n  - {say: "better"}\n' >better.yaml
}

keys() { python3 -Ic 'import json,sys; print(*(json.loads(l)["key"] for l in open("run/results.jsonl")))'; }

@test "rows of a CSV file become sessions, quotes, line ends and a byte order mark included" {
    printf '\xef\xbb\xbfid,name,Invoice No.\r\n1,"Doe, ""Jane""",A-1\r\n2,"two\nlines",A-2\r\n\r\n' >items.csv
    job 'for_each: {csv: items.csv}' 'key: "{item.id}-{item.Invoice_No}"' 'input: "Look at {item.name}."'
    expect 0 nightjar run --run-dir run job.yaml
    [ "$(keys)" = "1-A-1 2-A-2" ]
    [ "$(row 1-A-1 'r["result"]')" = '1 Doe, "Jane"' ]
    [ "$(row 2-A-2 'r["result"]')" = $'2 two\nlines' ]
}

@test "a resumed run finds its items again, whatever became of the file" {
    printf 'id,name\n1,a\n2,b\n' >items.csv
    NJ_FAULT=journal.before_sync:kill NJ_FAULT_COUNT=3 nightjar run --run-dir run job.yaml || true
    rm items.csv
    if [ -e run/job.yaml ]; then
        expect 0 nightjar resume run
        [ "$(keys)" = "1 2" ]
    else
        printf 'id,name\n1,a\n2,b\n' >items.csv
        expect 0 nightjar run --run-dir run job.yaml
    fi
}

@test "ragged rows and fields that are missing are all named with their lines" {
    printf 'id,name\n1,a\n2\n3,c,d\n4,e\n4,f\n' >items.csv
    expect 2 nightjar check job.yaml
    has_err "items.csv:3: the row has 1 field, the header 2"
    has_err "items.csv:4: the row has 3 fields, the header 2"
    has_err "the key 4 is given twice: to items.csv:5 and to items.csv:6"
    sed -i 's/item.name/item.nmae/' job.yaml
    printf 'id,name\n1,a\n' >items.csv
    expect 2 nightjar run --run-dir run job.yaml
    has_err "items.csv:2: the item has no {item.nmae}; did you mean name?"
    [ ! -e run ]
}

@test "JSON lines keep their numbers as written and can be looked into" {
    printf '{"id":1,"name":{"first":"A","n":1.10}}\n\n{"id":"b","name":{"first":"B","n":1234567890123456789}}\n' >items.jsonl
    printf 'replies:\n  - {say: "{item.name.first} {item.name.n}"}\n' >replies.yaml
    job 'for_each: {lines: items.jsonl}' 'key: "{item.id}"' 'input: "{item.name.first} {item.name.n}"'
    expect 0 nightjar run --run-dir run job.yaml
    [ "$(keys)" = "1 b" ]
    nightjar-replay show run:b@1 >shown
    grep -q "B 1234567890123456789" shown
}

@test "a line that is no JSON is named" {
    printf '{"id":1}\n{"id":2,}\n"just text"\n' >items.jsonl
    job 'for_each: {lines: items.jsonl}' 'key: "{item.id}"' 'input: x'
    expect 2 nightjar check job.yaml
    has_err "items.jsonl:2: character 9: expected a key in double quotes"
    has_err "items.jsonl:3: the item has no {item.id}; it has value"
}

@test "where keeps what passes, first cuts the rest off" {
    printf 'id,name,tier,amount\n1,a,gold,10\n2,b,silver,200\n3,c,gold,300\n4,d,lead,400\n5,e,gold,500\n' >items.csv
    job 'for_each: {csv: items.csv}' 'where: {tier: [gold, silver], amount: {at_least: 200}}' 'first: 2' \
        'key: "{item.id}"' 'input: "{item.name}"'
    expect 0 nightjar run --run-dir run job.yaml
    [ "$(keys)" = "2 3" ]
    sed -i 's/gold, silver/tin/' job.yaml
    expect 2 nightjar check job.yaml
    has_err "none of 5 items passes where (may_be_empty: true takes that)"
    printf '    may_be_empty: true\n' >>job.yaml
    expect 0 nightjar run --run-dir empty job.yaml
    [ ! -s empty/results.jsonl ]
}

@test "an item may override the model, the input and the turns of its group" {
    printf 'id,name,tier,turns\n1,a,better,\n2,b,,1\n' >items.csv
    job 'for_each: {csv: items.csv}' 'key: "{item.id}"' 'input: x' \
        'override: {model: "{item.tier}", limits: {turns: "{item.turns}"}}'
    expect 0 nightjar run --run-dir run job.yaml
    [ "$(row 1 'r["result"]')" = better ]
    [ "$(row 2 'r["result"]')" = "2 b" ]
    printf 'id,name,tier,turns\n1,a,beter,\n2,b,,none\n' >items.csv
    expect 2 nightjar check job.yaml
    has_err 'items.csv:2: unknown model "beter"; did you mean better?'
    has_err 'items.csv:3: expected a whole number from 1 to 10000, found "none"'
}

@test "a matrix crosses its lists, the last one fastest" {
    mkdir docs && touch docs/a.md docs/b.md
    printf 'replies:\n  - {say: "{item.lang} {item.tone.name}"}\n' >replies.yaml
    job 'matrix:' '  file: {glob: "docs/*.md"}' '  lang: {values: [de, 7]}' '  tone: {values: [{name: warm}, {name: plain}]}' \
        'where: {lang: {not: 7}, tone.name: {exists: true}}' \
        'key: "{item.file.stem}-{item.lang}-{item.tone.name}"' 'input: "{item.file.path}"'
    expect 0 nightjar run --run-dir run job.yaml
    [ "$(keys)" = "a-de-warm a-de-plain b-de-warm b-de-plain" ]
    [ "$(row a-de-plain 'r["result"]')" = "de plain" ]
}

@test "a CSV field of ten megabytes is refused without being kept" {
    python3 -Ic 'print("id,name"); print("1," + "x" * 10_000_000)' >items.csv
    expect 2 nightjar check job.yaml
    has_err "items.csv: line 2: field 2 makes the row longer than 1048576 bytes"
}

@test "a manifest of megabytes is run, and its bundles hold it" {
    skip_without namespaces
    python3 -I - <<-'PYTHON' >job.yaml
	print("""nightjar: 1
	models: {worker: [{provider: script, script: replies.yaml}]}
	agents: {tester: {model: worker, tools: [{type: code_execution}]}}
	sessions:
	  - name: items
	    agent: tester
	    key: "{item.n}"
	    first: 1
	    input: "Go."
	    for_each:
	      values:""".replace("\t", ""))
	for n in range(60000):
	    print(f"        - {{n: \"{n}\", padding: \"{'x' * 60}\"}}")
	PYTHON
    [ "$(stat -c %s job.yaml)" -gt $((5 << 20)) ]
    echo 'replies: [{say: "Done."}]' >replies.yaml
    expect 0 nightjar run job.yaml --run-dir run
    tar -xOf "$(bundle 0)" job.yaml | cmp - job.yaml
    expect 0 nightjar-replay verify "$(bundle 0)"
    expect 0 nightjar-replay fsck run
}
