# fsck: what is whole is called whole, what is not is named with its place, and what can be saved is a
# whole record again. One run serves all cases: they work on copies.

load ../lib/common

setup() {
    nj_setup
    skip_without namespaces
    RUN=$BATS_FILE_TMPDIR/run
    if [ ! -e "$RUN" ]; then
        mkdir mounted && echo from-mount >mounted/x
        cat >replies.yaml <<-'YAML'
		replies:
		  - when: {turn: 1}
		    say: "I write some files."
		    call:
		      - {tool: code_execution, input: {language: bash, code: "echo first >a; mkdir d; echo deep >d/b; seq 200000 >long; echo said-one"}}
		      - {tool: code_execution, input: {language: bash, code: "echo second >>a; cat /mounted/x"}}
		  - say: "All done."
		YAML
        cat >job.yaml <<-'YAML'
		nightjar: 1
		job: checked
		models:
		  worker: [{provider: script, script: replies.yaml}]
		agents:
		  tester:
		    model: worker
		    sandbox: {mounts: [{source: mounted, target: /mounted}]}
		    tools: [{type: code_execution}]
		sessions:
		  - {name: one, agent: tester, key: one, input: "Go.", outputs: ["/workspace/a"]}
		  - {name: two, agent: tester, key: two, input: "Go."}
		YAML
        nightjar run job.yaml --run-dir "$RUN" 2>err || { cat err >&2; return 1; }
    fi
    B=$(bundle one "$RUN")
}
teardown() { nj_teardown; }

# flip FILE OFFSET - the byte there is another one
flip() {
    python3 -I - "$1" "$2" <<-'PY'
	import sys
	with open(sys.argv[1], "r+b") as file:
	    file.seek(int(sys.argv[2]))
	    byte = file.read(1)[0]
	    file.seek(int(sys.argv[2]))
	    file.write(bytes([byte ^ 0x55]))
	PY
}

# member FILE NAME - the offset of a member's content in a tar
member() { python3 -I -c 'import sys, tarfile; print(tarfile.open(sys.argv[1]).getmember(sys.argv[2]).offset_data)' "$1" "$2"; }

@test "a run, its bundles and its sessions are whole" {
    expect 0 nightjar-replay fsck "$RUN" "$B" "$RUN:two"
    has_out "2 of 2 sessions are whole"
    [ "$(grep -c ': whole; ' <<<"$out")" -eq 3 ]
    expect 0 nightjar-replay fsck --json "$RUN"
    python3 -I -c 'import json, sys; it = json.load(sys.stdin); assert it["whole"] and it["sessions"] == 2 and it["faults"] == []' <<<"$out"
}

@test "whatever byte of a bundle is flipped, fsck says so, and what it saves verifies" {
    cp "$B" good.njb
    size=$(stat -c %s good.njb)
    saved=0
    for at in 100 700 $((size / 7)) $((size / 3)) $((size / 2)) $((size - 2000)) "$(($(member good.njb SHA256SUMS) + 3))"; do
        cp good.njb bad.njb && flip bad.njb "$at"
        rm -f mended.njb
        expect 2 nightjar-replay fsck bad.njb --salvage mended.njb
        has_out "bad.njb: damaged; "
        has_out "cure: "
        [ -e mended.njb ] || continue
        saved=$((saved + 1))
        expect 0 nightjar-replay fsck mended.njb
    done
    [ "$saved" -ge 3 ]
    expect 0 nightjar-replay verify mended.njb
}

@test "a damaged message costs the steps from it on, and no step before it" {
    skip_without zstd
    # The second call's result is in an object of its own: without it the first call's step is the last.
    python3 -I "$NJ_ROOT/tests/lib/bundle.py" raw "$B" bad.njb \
        'o = bytearray(zstd(m["objects.msgpack.zst"], "-d")); i = o.rindex(b"from-mount"); o[i] ^= 1; m["objects.msgpack.zst"] = zstd(bytes(o), f"--stream-size={len(o)}")'
    expect 2 nightjar-replay fsck bad.njb --salvage mended.njb
    has_out "objects.msgpack.zst"
    expect 0 nightjar-replay fsck mended.njb
    expect 0 nightjar-replay show mended.njb
    has_out said-one
    expect 0 nightjar-replay verify mended.njb
    has_out "has not ended"
}

@test "a truncated bundle is saved as far as it goes, and an existing file is not overwritten" {
    head -c $(($(member "$B" SHA256SUMS) - 600)) "$B" >cut.njb
    expect 2 nightjar-replay fsck cut.njb --salvage mended.njb
    expect 0 nightjar-replay verify mended.njb
    expect 3 nightjar-replay fsck cut.njb --salvage mended.njb
    has_err "File exists"
}

@test "an object that is missing is named by the frame that wants it" {
    skip_without zstd
    python3 -I "$NJ_ROOT/tests/lib/bundle.py" raw "$B" bad.njb 'objects = unpack_all(zstd(m["objects.msgpack.zst"], "-d"))
rest = b"".join(pack(o) for o in objects if o["b"] != b"first\n")
m["objects.msgpack.zst"] = zstd(rest, f"--stream-size={len(rest)}")'
    expect 2 nightjar-replay fsck bad.njb
    has_out "(tool-done): workspace: blob "
}

@test "a damaged journal is refused by resume, and fsck saves every session that it spares" {
    cp -a "$RUN" run
    rm run/bundles/*
    # The first object of session two lies behind everything of the first step of session one.
    at=$(python3 -I -c 'import sys; data = open(sys.argv[1], "rb").read(); print(data.rindex(b"from-mount"))' run/journal/000001.njj)
    flip run/journal/000001.njj "$at"
    expect 2 nightjar-replay fsck run --salvage saved
    has_out "journal segment 000001, offset "
    has_out "cure: "
    [ "$(ls saved | wc -l)" -eq 2 ]
    expect 0 nightjar-replay fsck saved/*
    expect 0 nightjar-replay verify saved/*
    [ "$(nightjar-replay fsck --json saved/* | python3 -I -c 'import json, sys; print(sorted(json.loads(line)["frames"] for line in sys.stdin)[-1])')" -gt 10 ]
}

@test "cut journals: whatever is cut off, fsck names it or calls it a torn tail" {
    cp -a "$RUN" run
    rm run/bundles/*
    size=$(stat -c %s run/journal/000001.njj)
    for cut in 0 63 100 $((size / 2)) $((size - 1)); do
        head -c "$cut" "$RUN/journal/000001.njj" >run/journal/000001.njj
        run nightjar-replay fsck run
        [ "$status" -eq 0 ] || [ "$status" -eq 2 ] || complain "cut at $cut: $status $output"
        [[ $output == "run: "* ]]
    done
}

@test "missing and changed files of a run are named" {
    cp -a "$RUN" run
    rm run/run.json "run/bundles/$(basename "$B")"
    input=$(ls run/inputs | head -n 1)
    echo more >>"run/inputs/$input"
    expect 2 nightjar-replay fsck run
    has_out "run.json: "
    has_out "inputs/$input: its bytes are not those of its name"
    has_out "session one, its bundle: "
    has_out "nightjar bundle RUN:KEY"
}

@test "several paths: each is told, the status is the worst" {
    echo rubbish >rubbish.njb
    cp "$B" bad.njb && flip bad.njb 5000
    expect 2 nightjar-replay fsck "$B" bad.njb rubbish.njb
    has_out "whole; "
    has_out "bad.njb: damaged"
    has_err "this is not a bundle"
    expect 2 nightjar-replay fsck "$B" bad.njb --salvage out
    has_err "one PATH"
}
