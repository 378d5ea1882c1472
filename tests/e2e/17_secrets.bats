# A key is nowhere but in the vault: each case makes one, lets it be used, and looks for it everywhere.

load ../lib/common
load ../lib/model_server

setup() {
    nj_setup
    skip_without namespaces
    key=sk-$(head -c 24 /dev/urandom | base64 | tr -d '+/=\n')
}
teardown() { nj_teardown; }

# serve [SECONDS] - the server takes so long for the first reply
serve() {
    models_serve server <<-JSON
	{"accounts": {"$key": "ok"}, "models": {"m1": {}}, "replies": [
	 {"when": {"turn": 1}, "say": "I look around.", "delay": ${1:-0}, "call": [{"input": {"language": "bash",
	  "code": "env; set; cat /proc/*/environ /proc/*/cmdline 2>/dev/null | tr '\\\\000' '\\\\n'; ls -la ~ /; true"}}]},
	 {"when": {"turn": 2, "attempt": 1}, "error": {"status": 500, "type": "api_error", "message": "your key was $key, and half of it is ${key:0:20}"}},
	 {"when": {"turn": 2, "attempt": 2}, "error": {"status": 500, "body": "{\"error\": {\"message\": \"$key\", \"type\": \"$key\"}}"}},
	 {"say": "done"}]}
	JSON
    rm server.json # it names the key; the server has read it
}

# nowhere FOLDER... - the key is in no file, as it is, inside what is packed there, or in Base64
nowhere() {
    NJ_KEY=$key python3 -B - "$@" <<-'PYTHON'
	import base64, os, subprocess, sys, tarfile
	key = os.environ["NJ_KEY"].encode()
	forms = [key, key[:20], base64.b64encode(key)[:-4], key.hex().encode()]
	files = 0
	def look(where, data):
	    for form in forms:
	        if form in data:
	            sys.exit(f"{where} holds the secret")
	def unpacked(where, data):
	    # Frames of zstd anywhere in a file: the journal's payloads, a bundle's members.
	    at = data.find(b"\x28\xb5\x2f\xfd")
	    while at >= 0:
	        out = subprocess.run(["zstd", "-dcq"], input=data[at:], capture_output=True).stdout
	        look(where + f" (frame at {at})", out)
	        at = data.find(b"\x28\xb5\x2f\xfd", at + 4)
	for top in sys.argv[1:]:
	    for folder, _, names in os.walk(top):
	        for name in names:
	            path = os.path.join(folder, name)
	            if os.path.islink(path) or not os.path.isfile(path):
	                continue
	            with open(path, "rb") as file:
	                data = file.read()
	            files += 1
	            look(path, data)
	            if len(data) < 4 << 20 or not data.strip(b"\0"):
	                unpacked(path, data.rstrip(b"\0"))
	            else:
	                unpacked(path, data.rstrip(b"\0"))
	assert files > 5, f"only {files} files were looked at"
	PYTHON
}

# used SOURCE... - run with the credential from SOURCE (a YAML map's inside), and look everywhere
used() {
    serve
    job_models
    sed -i "s|key: {env: NJ_TEST_KEY}|key: {$1}|" job.yaml
    shift
    mkdir -p cores
    ulimit -c unlimited
    expect 0 "$@" nightjar run job.yaml --run-dir run
    models_sound
    same "$(models_log_of 'len({line["key"] for line in asked})')" 1
    hasnt "$key"
    hasnt "${key:0:20}"
    nowhere run
    [[ $(nightjar-replay show "$(bundle 001)" 2>&1) != *"${key:0:20}"* ]]
}

@test "from a variable: in no file, no output, and no place that the agent can see" {
    used "env: NJ_TEST_KEY" env NJ_TEST_KEY="$key"
}

@test "from a file" {
    mkdir secrets
    (umask 077 && echo "$key" >secrets/key)
    used "file: secrets/key" env
}

@test "from a command" {
    mkdir secrets
    (umask 077 && echo "$key" >secrets/key)
    used "command: [cat, secrets/key]" env
}

@test "from systemd's folder of credentials" {
    mkdir secrets
    (umask 077 && echo "$key" >secrets/key)
    used "systemd: key" env CREDENTIALS_DIRECTORY="$PWD/secrets"
}

# engine - what `begin` started execs, or where that did not: its child
engine() { local child=""; [ "$(<"/proc/$begun/comm")" = nightjar ] || child=$(pgrep -P "$begun" -x nightjar | head -n 1); echo "${child:-$begun}"; }

# processes - of the run that `begin` started: engine, vault, helper, supervisors, and all below
processes() { ps -e -o pid=,ppid= | awk -v top="$(engine)" '{ p[$1] = $2 } END { for (pid in p) { at = pid; while (at > 1 && at != top) at = p[at]; if (at == top) print pid } }'; }

@test "while it runs: in no /proc entry, and nobody else may read the vault's memory" {
    serve 8
    job_models
    # The variable is the engine's alone: whoever started it is not what is tested.
    begin env NJ_TEST_KEY="$key" nightjar run job.yaml --run-dir run
    until_true 20 grep -q '"event": "asked"' server.log
    [ "$(processes | wc -l)" -ge 3 ] || complain "only $(processes | wc -l) processes"
    for pid in $(processes); do
        for file in environ cmdline; do
            ! tr '\0' '\n' <"/proc/$pid/$file" 2>/dev/null | grep -qF "${key:0:20}" || complain "/proc/$pid/$file ($(<"/proc/$pid/comm")) holds the key"
        done
    done
    local vault
    vault=$(for pid in $(processes); do [ "$(<"/proc/$pid/comm")" != nj-vault ] || echo "$pid"; done)
    [ -n "$vault" ] || complain "there is no vault"
    same "$(awk '/^Seccomp:/ { print $2 }' "/proc/$vault/status")" 2 "the vault's filter"
    same "$(awk '/^CapEff:/ { print $2 }' "/proc/$vault/status")" 0000000000000000 "the vault's rights"
    # As another process of the same user, or as another user: neither reads its memory.
    if [ "$(id -u)" -eq 0 ]; then
        ! setpriv --reuid=65534 --regid=65534 --clear-groups -- cat "/proc/$vault/environ" 2>/dev/null | grep -q . || complain "nobody reads the vault"
        ! setpriv --reuid="$(stat -c %u "/proc/$begun")" --regid=65534 --clear-groups --inh-caps=-all --bounding-set=-all -- head -c 1 "/proc/$vault/mem" 2>/dev/null || complain "the memory opens"
        # Root may look, and then only the vault and the request under way have it.
        NJ_KEY=$key python3 -B - $(processes) <<-'PYTHON'
		import os, re, sys
		key, found = os.environ["NJ_KEY"].encode(), []
		for pid in sys.argv[1:]:
		    try:
		        name = open(f"/proc/{pid}/comm").read().strip()
		        with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", 0) as memory:
		            for line in maps:
		                first, last, rights = re.match(r"([0-9a-f]+)-([0-9a-f]+) (\S+)", line).groups()
		                first, size = int(first, 16), int(last, 16) - int(first, 16)
		                # Terabytes are a sanitizer's shadow, which holds no byte of the program.
		                if rights[0] == "r" and "[v" not in line and size < 1 << 32:
		                    try:
		                        memory.seek(first)
		                        if key in memory.read(size):
		                            found.append((name, line.strip()))
		                    except (OSError, ValueError, OverflowError):
		                        pass
		    except OSError:
		        pass
		names = {name for name, _ in found}
		assert "nj-vault" in names and names <= {"nj-vault", "nightjar"}, found
		PYTHON
    else
        ! head -c 1 "/proc/$vault/mem" 2>/dev/null || complain "the same user reads the vault's memory"
    fi
    ended 0
    nowhere run
}

@test "cores hold no key: engine and vault leave none, and the others never had it" {
    serve 4
    job_models
    ulimit -c unlimited
    begin env NJ_TEST_KEY="$key" nightjar run job.yaml --run-dir run
    until_true 20 grep -q '"event": "asked"' server.log
    for pid in $(processes); do
        kill -ABRT "$pid" 2>/dev/null || true
    done
    wait "$begun" || true
    nowhere "$PWD"
}

@test "the vault ends with the engine, however that ends" {
    serve 4
    job_models
    begin env NJ_TEST_KEY="$key" nightjar run job.yaml --run-dir run
    until_true 20 grep -q '"event": "asked"' server.log
    vault=$(for pid in $(processes); do [ "$(<"/proc/$pid/comm")" != nj-vault ] || echo "$pid"; done)
    kill -KILL "$begun"
    wait "$begun" || true
    until_true 10 sh -c "! [ -d /proc/$vault ] || grep -q '^State:.*Z' /proc/$vault/status"
    NJ_TEST_KEY=$key expect 0 nightjar resume run
    nowhere run
}

@test "a file outside of the manifest's folder, allowed with --allow-path, is found by a resume, too" {
    serve 2
    job_models
    mkdir job keys && mv job.yaml job/ && echo "$key" >keys/key # readable: a resume reads as the run's owner
    [ ! -d items ] || mv items job/
    sed -i "s|{env: NJ_TEST_KEY}|{file: $PWD/keys/key}|" job/job.yaml
    expect 2 nightjar run job/job.yaml --run-dir run
    begin nightjar run job/job.yaml --run-dir run --allow-path keys
    until_true 20 grep -q '"event": "asked"' server.log
    kill -KILL "$begun"
    wait "$begun" || true
    expect 0 nightjar resume run
    nowhere run
}

@test "a source that cannot be had is named with its line, and nothing is left behind" {
    serve
    job_models
    expect 2 env -u NJ_TEST_KEY nightjar run job.yaml --run-dir run
    has_err "credentials.key: the variable NJ_TEST_KEY is not set"
    has_err "line 7"
    [ ! -e run ]
    sed -i 's|{env: NJ_TEST_KEY}|{file: none.txt}|' job.yaml
    expect 2 nightjar run job.yaml --run-dir run
    has_err "open none.txt (in $PWD): No such file"
    sed -i 's|{file: none.txt}|{command: [sh, -c, "echo no >\&2; exit 3"]}|' job.yaml
    expect 2 nightjar run job.yaml --run-dir run
    has_err "sh ended with status 3"
    [ ! -e run ]
}

@test "a key is not sent to a host that the credential does not name" {
    serve
    job_models
    sed -i 's|{env: NJ_TEST_KEY}|{env: NJ_TEST_KEY, hosts: [api.example.com]}|' job.yaml
    expect 4 env NJ_TEST_KEY="$key" nightjar run job.yaml --run-dir run
    has "credentials.key is not for 127.0.0.1:"
    same "$(models_log_of 'len(asked) + len(refused)')" 0 "requests"
}
