#!/usr/bin/env bash
#
# models.sh - the model client beside bare libcurl, and what sessions cost that wait for a model
#
# Prints a line a target: what, measured, target, met or missed. Client: calls a second through the engine's way to a model
# (gate, request, exchange, dialect) over those of libcurl's multi interface alone, 64 in flight, the same bytes, the same
# server, in alternating rounds; the median of the rounds' ratios. Waiting: sessions that have had one reply and wait for the
# next over a socket each; memory of all of nightjar's processes (Pss: shared pages are split) with 2,500 of them less that
# with 500, over 2,000, once it does not change any more; the median of three such pairs. The engine's own part (private
# pages) is told beside it. Memory of the kernel's sockets is not in it.
set -uo pipefail

NJ_ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P) || exit 2
. "$NJ_ROOT/tests/bench/common.bash"
ROUNDS=${BENCH_ROUNDS:-5}
CALLS=20000 IN_FLIGHT=64
FEW=500 MANY=2500 PAIRS=${BENCH_PAIRS:-3}
PATH=$NJ_ROOT/build/release/bin:$PATH
ask=$NJ_ROOT/build/release/tests/bench_ask
bench_enter models
chmod 755 . # as root the engine becomes an ordinary user, who reads the certificate
started=()
finish() {
    local pid
    for pid in "${started[@]}"; do
        kill "$pid" 2>/dev/null && wait "$pid" 2>/dev/null
    done
    cd / && rm -rf "$work"
}
trap finish EXIT

line() { # WHAT MEASURED least|most TARGET UNIT
    awk -v what="$1" -v have="$2" -v kind="$3" -v want="$4" -v unit="$5" 'BEGIN {
        met = kind == "least" ? have >= want : have <= want
        printf "%-58s %10s %-6s at %-5s %7s  %s\n", what, have, unit, kind, want, met ? "met" : "missed" }'
}

cc -O2 -Wall -Wextra -D_GNU_SOURCE -o answer "$NJ_ROOT/tests/bench/answer.c" || die "cannot build answer"
cc -O2 -Wall -Wextra -D_GNU_SOURCE -o multi "$NJ_ROOT/tests/bench/multi.c" -lcurl || die "cannot build multi"

# serve TEXT-BYTES TURNS [hold] - $port is the server's; it lives as long as fd 7 is open
serve() {
    rm -f port pipe
    mkfifo pipe
    ./answer port "$1" "$2" nothing '{}' ${3:+hold} <pipe &
    started+=("$!")
    exec 7>pipe
    for _ in $(seq 1 100); do
        [ -s port ] && break
        sleep 0.05
    done
    port=$(<port)
    [ -n "$port" ] || die "the server does not start"
}

# ---- 64 in flight ----

serve 1800 0
for kind in plain stream; do
    # The request is the one that ask sends: as many bytes, the same shape.
    printf '{"model":"m","max_tokens":100,%s"messages":[{"role":"user","content":[{"type":"text","text":"hello"}]}]}' \
        "$([ "$kind" = plain ] || printf '"stream":true,')" >body
    : >ratios
    for ((i = 0; i < ROUNDS; i++)); do
        bare=$(./multi "http://127.0.0.1:$port/v1/messages" "$CALLS" "$IN_FLIGHT" body) || die "multi failed"
        ours=$("$ask" "http://127.0.0.1:$port" "$CALLS" "$IN_FLIGHT" "$kind") || die "ask failed"
        printf '  round %d, %s: libcurl alone %d a second, the model client %d\n' $((i + 1)) "$kind" "$bare" "$ours"
        awk -v a="$ours" -v b="$bare" 'BEGIN { printf "%.2f\n", a / b }' >>ratios
    done
    line "model client over bare libcurl multi, 64 in flight, $kind" "$(median <ratios)" least 0.8 ""
done
exec 7>&-

# ---- thousands waiting ----

# descendants PID - it and all below it
descendants() {
    ps -e -o pid=,ppid= | awk -v top="$1" '{ parent[$1] = $2 } END { for (pid in parent) {
        for (p = pid; p && p != top && p in parent; p = parent[p]) { }
        if (p == top) print pid } }'
}
pss_kib() {
    local pid
    for pid in $(descendants "$1"); do
        cat "/proc/$pid/smaps_rollup" 2>/dev/null
    done | awk '/^Pss:/ { kib += $2 } END { print kib + 0 }'
}
private_kib() { awk '/^Private_/ { kib += $2 } END { print kib + 0 }' "/proc/$1/smaps_rollup"; }

# waiting COUNT URL - KiB of a run of COUNT sessions once all of them wait for their second reply: of all its processes, and of
# the engine alone
waiting() {
    local count=$1 url=$2 run=run-$1-$RANDOM i pid kib before open
    rm -rf items
    mkdir items
    for ((i = 1; i <= count; i++)); do
        echo "$i" >"items/$i.txt"
    done
    cat >job.yaml <<-YAML
	nightjar: 1
	job: waiting
	models: {worker: [{provider: anthropic, model: m, base_url: "$url", max_tokens: 100}]}
	agents: {bench: {model: worker, instructions: "Go on.", tools: [{type: code_execution, languages: [bash]}]}}
	sessions: [{name: w, agent: bench, for_each: {glob: "items/*.txt"}, key: "{item.stem}", input: "Go."}]
	limits: {sessions: $count}
	YAML
    nightjar run job.yaml --run-dir "$run" --quiet >run.out 2>&1 7>&- &
    pid=$!
    started+=("$pid")
    for ((i = 0; i < 1200; i++)); do
        kill -0 "$pid" 2>/dev/null || die "the waiting run ended: $(head -c 500 run.out)"
        open=$(find "/proc/$(engine_of "$pid")/fd" -lname 'socket:*' 2>/dev/null | wc -l)
        [ "$open" -lt "$count" ] || break
        sleep 0.25
    done
    [ "$open" -ge "$count" ] || die "only $open of $count sessions came to wait"
    sleep 3 # what the first replies left behind is written and freed
    before=-1 kib=$(pss_kib "$pid")
    for ((i = 0; i < 15 && kib != before; i++)); do
        sleep 1
        before=$kib kib=$(pss_kib "$pid")
    done
    kib="$kib $(private_kib "$(engine_of "$pid")")"
    kill -KILL "$pid" && wait "$pid" 2>/dev/null
    sleep 0.5
    echo "$kib"
}
# The process with the most memory below PID, which is the engine.
engine_of() {
    local pid
    for pid in $(descendants "$1"); do
        printf '%s %s\n' "$(awk '/^VmRSS/ { print $2 }' "/proc/$pid/status" 2>/dev/null)" "$pid"
    done | sort -g | tail -n 1 | cut -d' ' -f2
}

ulimit -n "$(ulimit -H -n)"
serve 470 1 hold
# wait_pairs TITLE URL - $all and $own: kB a session, of all processes and of the engine alone
wait_pairs() {
    local i few many
    : >pairs
    for ((i = 1; i <= PAIRS; i++)); do
        few=$(waiting "$FEW" "$2") && many=$(waiting "$MANY" "$2") || exit 1
        printf '  pair %d, %s: KiB of all, of the engine: %s with %d sessions waiting, %s with %d\n' "$i" "$1" "$few" "$FEW" "$many" "$MANY"
        awk -v n=$((MANY - FEW)) 'NR == 1 { a = $1; b = $2 } NR == 2 { printf "%.2f %.2f\n", ($1 - a) * 1.024 / n, ($2 - b) * 1.024 / n }' \
            <<<"$few"$'\n'"$many" >>pairs
    done
    all=$(cut -d' ' -f1 pairs | median) own=$(cut -d' ' -f2 pairs | median)
}
wait_pairs "plain HTTP/1.1" "http://127.0.0.1:$port"
line "a session that waits over plain HTTP/1.1" "$all" most 20 kB
printf '%-58s %10s kB\n' "  the engine's own part of it" "$own"

if command -v node >/dev/null && command -v openssl >/dev/null; then
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost \
        -addext subjectAltName=IP:127.0.0.1 -keyout server.key -out server.pem 2>/dev/null || die "no certificate"
    node -e '
        const [port, portFile] = process.argv.slice(1), net = require("net"), tls = require("tls"), fs = require("fs");
        const server = tls.createServer({cert: fs.readFileSync("server.pem"), key: fs.readFileSync("server.key")}, (from) => {
            const to = net.connect(port, "127.0.0.1");
            for (const [a, b] of [[from, to], [to, from]]) { a.on("error", () => b.destroy()); a.pipe(b); }
        });
        server.listen(0, "127.0.0.1", 4096, () => fs.writeFileSync(portFile, String(server.address().port)));
    ' "$port" tls-port >node.out 2>&1 7>&- &
    started+=("$!")
    for _ in $(seq 1 100); do
        [ -s tls-port ] && break
        sleep 0.05
    done
    SSL_CERT_FILE=$PWD/server.pem
    export SSL_CERT_FILE
    # No target: DESIGN asks for the figure.
    wait_pairs "TLS, HTTP/1.1" "https://127.0.0.1:$(<tls-port)"
    printf '%-58s %10s kB     (told beside it)\n' "a session that waits over TLS, HTTP/1.1" "$all"
    printf '%-58s %10s kB\n' "  the engine's own part of it" "$own"
fi
