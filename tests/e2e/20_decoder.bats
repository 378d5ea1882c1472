# A bundle opened without our programs: GNU tar, sha256sum, zstd and a msgpack reader from npm (python3-msgpack
# where npm is not reached) rebuild the last workspace from what the FORMAT.md pages say, byte for byte.
#
# once: the record is the same, whoever wrote it

load ../lib/common
. "$BATS_TEST_DIRNAME/../lib/npm.bash"

setup() {
    nj_setup
    for thing in namespaces zstd tar python3; do skip_without $thing; done
    cat >replies.yaml <<-'YAML'
	replies:
	  - when: {turn: 1}
	    call:
	      - {tool: code_execution, input: {language: bash, code: "mkdir -p d/e; seq 400000 >long; echo deep >d/e/f; ln -s ../long d/link; ln d/e/f hard; chmod 640 long; printf 'a\\nb' >$'na\\nme \\377'; : >empty"}}
	      - {tool: code_execution, input: {language: bash, code: "sed -i 1000s/^/inserted-/ long; rm empty; for n in {1..1500}; do echo $n >d/$n; done"}}
	  - say: "Done: {last}"
	YAML
    cat >job.yaml <<-'YAML'
	nightjar: 1
	job: decoded
	models:
	  worker: [{provider: script, script: replies.yaml}]
	agents:
	  tester: {model: worker, sandbox: {}, tools: [{type: code_execution}]}
	sessions:
	  - {name: one, agent: tester, key: one, input: "Go."}
	YAML
    expect 0 nightjar run job.yaml --run-dir run
    expect 0 nightjar-replay checkout "$(bundle one run)" ours
    mkdir members
    tar -xf "$(bundle one run)" -C members
    (cd members && sha256sum --quiet -c SHA256SUMS && zstd -q -d --rm ./*.zst)
}
teardown() { nj_teardown; }

# same - ours and theirs hold the same names, types, modes, links and bytes
same() {
    python3 -I - ours theirs <<-'PY'
	import os, sys
	def tree(top):
	    found = {}
	    for folder, names, files in os.walk(os.fsencode(top)):
	        for name in names + files:
	            path = os.path.join(folder, name)
	            st = os.lstat(path)
	            link = os.path.islink(path)
	            content = os.readlink(path) if link else open(path, "rb").read() if name in files else b""
	            found[os.path.relpath(path, os.fsencode(top))] = (0 if link else st.st_mode, content)
	    return found
	ours, theirs = tree(sys.argv[1]), tree(sys.argv[2])
	assert ours == theirs, sorted(set(ours) ^ set(theirs)) or [path for path in ours if ours[path] != theirs[path]]
	assert len(ours) > 1500 # d is in leaves
	PY
}

@test "msgpack from npm, tar and zstd rebuild the workspace from the pages alone" {
    { npm_node 18 && npm_install msgpack $NJ_NPM_MSGPACK; } || skip "$npm_why"
    mkdir code && ln -s "$npm_modules" code/node_modules && cp "$NJ_ROOT/tests/lib/decode.mjs" code/
    expect 0 node code/decode.mjs members theirs
    has_out '"roles":["user","assistant"'
    same
}

@test "and so does python3-msgpack" {
    /usr/bin/python3 -c 'import msgpack' 2>/dev/null || skip "no python3-msgpack here"
    expect 0 /usr/bin/python3 "$NJ_ROOT/tests/lib/decode.py" members theirs
    has_out '"roles": ["user", "assistant"'
    same
}
