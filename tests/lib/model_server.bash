# model_server.bash - starting the scripted model server (model_server.py) from a suite
#
#   models_serve [NAME] [ARGUMENT...] <SCRIPT   start one; $models_url and $models_log (its journal) are set. NAME (default
#                                               "server") keeps several apart: NAME.json, NAME.log, NAME.port
#   models_setup                                what setup() begins with where models are asked: boxes, and a key in $NJ_TEST_KEY
#   models_replies MODELS ACCOUNTS [ARGUMENT...] <REPLIES   start "server" with the account of $NJ_TEST_KEY and what else
#                                               ACCOUNTS holds; all three are the insides of the script's values
#   models_sound [NAME]                         fail where a request was refused, and show why
#   models_log_of EXPRESSION [NAME]             evaluate a Python expression over `asked`, `answered`, `refused`: lists of
#                                               the journal's objects
#   models_tls                                  ca.pem, and server.pem with server.key for 127.0.0.1 and localhost
#   models_h2 [FAULTS]                          HTTP/2 over TLS before it

models_serve() {
    local name=${1:-server}
    shift || true
    rm -f "$name.port"
    cat >"$name.json"
    python3 -B "$NJ_ROOT/tests/lib/model_server.py" --script "$name.json" --journal "$name.log" --port-file "$name.port" "$@" \
        >"$name.out" 2>&1 </dev/null 3>&- &
    nj_started+=("$!")
    until_true 60 test -s "$name.port" || { cat "$name.out" >&2; return 1; }
    models_url=http://127.0.0.1:$(<"$name.port")
    [[ " $* " != *" --tls "* ]] || models_url=https${models_url#http}
    models_log=$PWD/$name.log
}

models_setup() {
    nj_setup
    skip_without namespaces
    export NJ_TEST_KEY=key-$RANDOM$RANDOM$RANDOM
}

models_replies() {
    local models=$1 accounts=$2 replies
    shift 2
    replies=$(cat)
    models_serve server "$@" <<<"{\"accounts\": {\"$NJ_TEST_KEY\": \"ok\"${accounts:+, $accounts}}, \"models\": {$models}, \"replies\": [$replies]}"
}

models_log_of() {
    python3 -I - "$1" "${2:-server}.log" <<-'PYTHON'
	import collections, json, sys
	lines = [json.loads(line) for line in open(sys.argv[2], encoding="utf-8")]
	asked, answered, refused = ([line for line in lines if line["event"] == kind] for kind in ("asked", "answered", "refused"))
	value = eval(sys.argv[1])
	print(value if isinstance(value, str) else json.dumps(value, sort_keys=True, ensure_ascii=False))
	PYTHON
}

models_sound() {
    same "$(models_log_of '[(line["status"], line["why"]) for line in refused]' "${1:-server}")" "[]" "refused requests"
}

# Made anew for each case: no key is kept anywhere.
models_tls() {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj "/CN=test authority" \
        -addext basicConstraints=critical,CA:TRUE -keyout ca.key -out ca.pem 2>tls.err &&
        openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj "/CN=localhost" -keyout server.key -out server.csr 2>>tls.err &&
        openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -out server.pem \
            -extfile <(echo "subjectAltName=IP:127.0.0.1,DNS:localhost") 2>>tls.err || complain "$(<tls.err)"
}

# job_models [SESSION LINE...] - job.yaml: sessions over items/*.txt ($ITEMS of them, default 1) whose models are $MODELS, the
# inside of the role's chain (default: one of $PROVIDER, streamed unless STREAM=false, with the credential `key` of
# NJ_TEST_KEY). The first message names the item, so the server's journal tells sessions apart.
job_models() {
    local i line provider=${PROVIDER:-anthropic} base
    base=$models_url
    [ "$provider" = anthropic ] || base=$base/v1
    mkdir -p items
    for ((i = 1; i <= ${ITEMS:-1}; i++)); do
        echo "$i" >"items/$(printf %03d "$i").txt"
    done
    {
        cat <<-YAML
		nightjar: 1
		job: models
		models:
		  worker:
		    ${MODELS:-"- {provider: $provider, model: m1, base_url: \"$base\", credential: key, stream: ${STREAM:-true}, price: {input: 3, output: 15}}"}
		credentials:
		  key: {env: NJ_TEST_KEY}
		agents:
		  tester:
		    model: worker
		    instructions: "Do as you are told."
		    sandbox: {filesystem: {max_size_mb: 16}}
		    tools: [{type: code_execution, languages: [bash]}]
		sessions:
		  - name: items
		    agent: tester
		    for_each: {glob: "items/*.txt"}
		    key: "{item.stem}"
		    input: "{item.stem}: go."
		YAML
        for line in "$@"; do
            printf '    %s\n' "$line"
        done
        echo "limits: {sessions: ${SESSIONS:-64}}"
    } >job.yaml
}

# models_h2 [FAULTS] - HTTP/2 over TLS before the server that models_serve started (h2_front.mjs tells the faults): $models_url
# is the front's, its log is h2.log, and SSL_CERT_FILE names the authority
models_h2() {
    [ -f ca.pem ] || models_tls
    rm -f h2.port h2.log
    node "$NJ_ROOT/tests/lib/h2_front.mjs" "${models_url##*:}" server.pem server.key h2.port h2.log "$@" >h2.out 2>&1 </dev/null 3>&- &
    nj_started+=("$!")
    until_true 20 test -s h2.port || { cat h2.out >&2; return 1; }
    models_url=https://127.0.0.1:$(<h2.port)
    export SSL_CERT_FILE=$PWD/ca.pem
}
