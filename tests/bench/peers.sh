#!/usr/bin/env bash
#
# peers.sh - durable steps a second, and CPU a step, beside frameworks whose sessions outlive their process
#
# usage: tests/bench/peers.sh      ROUNDS=5 SECONDS_MAX=300 SESSIONS=64 TURNS=20 BYTES=512 BOX_TURNS=4
#
# A turn is a model's reply and a tool call: two steps, one after the other, each durable before the next. With an in-process tool
# the record is all there is; with a box per call the peers start bubblewrap, and ours is what it always is: filter, limits
# and the workspace captured. DBOS and LangGraph write to a PostgreSQL of this bench's own, Restate has a server of its own; their
# CPU counts as the peers'. All runs alternate, so the ratios are of one machine in one state: medians of as many rounds (at most
# ROUNDS, at least two) as SECONDS_MAX allows, packages and servers being there. What cannot be installed is told and left out,
# a run that fails is told and does not count.
set -uo pipefail

NJ_ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P) || exit 2
. "$NJ_ROOT/tests/bench/common.bash"
. "$NJ_ROOT/tests/lib/npm.bash"
PATH=$NJ_ROOT/build/${NJ_PRESET:-release}/bin:$PATH
ROUNDS=${ROUNDS:-5} SECONDS_MAX=${SECONDS_MAX:-300} SESSIONS=${SESSIONS:-64} TURNS=${TURNS:-20} BYTES=${BYTES:-512} BOX_TURNS=${BOX_TURNS:-4}
RUN_SECONDS_MAX=90 # of one run of one of them
PACKAGES=(@langchain/langgraph@1.7.3 @langchain/langgraph-checkpoint-postgres@1.0.5 @langchain/core@1.4.0
    @dbos-inc/dbos-sdk@5.3.0 pg@8.23.1)
RESTATE_PACKAGES=(@restatedev/restate-server@1.7.12 @restatedev/restate-sdk@1.17.2)
ORDINARY_ID=65534 # PostgreSQL does not run as root

bench_enter peers
postmaster='' restate_server='' restate_dir=''
finish() {
    local pid
    [ -z "$restate_server" ] || kill -KILL "$restate_server" 2>/dev/null # it takes its time otherwise
    for pid in $postmaster $restate_server; do
        kill -INT "$pid" 2>/dev/null
        wait "$pid" 2>/dev/null
    done
    rm -rf "$work" "$restate_dir"
}
trap finish EXIT
trap 'exit 130' INT TERM

# ---- PostgreSQL, on a socket in our folder ----

as_ordinary=()
[ "$(id -u)" -ne 0 ] || as_ordinary=(setpriv "--reuid=$ORDINARY_ID" "--regid=$ORDINARY_ID" --clear-groups --)

postgres_start() {
    pg=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -n 1)
    [ -x "$pg/initdb" ] || { why="no PostgreSQL here (postgresql)"; return 1; }
    # The path of a socket has at most 107 bytes, and the account must reach it.
    socket=$(mktemp -d /tmp/nj-pg-XXXXXX) && mkdir "$socket/data" || return 1
    trap 'finish; rm -rf "$socket"' EXIT
    [ "$(id -u)" -ne 0 ] || chown -R "$ORDINARY_ID:$ORDINARY_ID" "$socket"
    "${as_ordinary[@]}" "$pg/initdb" -D "$socket/data" -U bench -A trust >initdb.log 2>&1 || { why="initdb: $(tail -n 1 initdb.log)"; return 1; }
    "${as_ordinary[@]}" "$pg/postgres" -D "$socket/data" -k "$socket" -h '' -c max_connections=200 >postgres.log 2>&1 &
    postmaster=$!
    for _ in $(seq 100); do
        "$pg/pg_isready" -q -h "$socket" -U bench && return 0
        sleep 0.1
    done
    why="PostgreSQL does not start: $(tail -n 1 postgres.log)"
    return 1
}

# postgres_cpu - seconds of the postmaster, of its children that live and of those that have ended
postgres_cpu() {
    local pid
    {
        sed 's/.*) //' "/proc/$postmaster/stat" | awk '{ print $12 + $13 + $14 + $15 }'
        for pid in $(cat "/proc/$postmaster/task/$postmaster/children"); do
            sed 's/.*) //' "/proc/$pid/stat" 2>/dev/null | awk '{ print $12 + $13 }'
        done
    } | awk -v hz="$(getconf CLK_TCK)" '{ n += $1 } END { printf "%.3f\n", n / hz }'
}

# ---- Restate's server, on sockets in its folder ----

restate_start() {
    local server=$npm_modules/@restatedev/restate-server-linux-x64/bin/restate-server
    [ -x "$server" ] || { why="its package has no server for this machine"; return 1; }
    restate_dir=$(mktemp -d /tmp/nj-rs-XXXXXX) || return 1 # as above: 107 bytes
    RESTATE_DISABLE_TELEMETRY=true "$server" --no-logo --listen-mode unix --node-name bench --base-dir "$restate_dir" >restate.log 2>&1 &
    restate_server=$!
    for _ in $(seq 300); do
        [ -S "$restate_dir/bench/admin.sock" ] && [ -S "$restate_dir/bench/ingress.sock" ] && return 0
        sleep 0.1
    done
    why="its server does not start: $(tail -n 1 restate.log)"
    return 1
}

restate_cpu() {
    sed 's/.*) //' "/proc/$restate_server/stat" | awk -v hz="$(getconf CLK_TCK)" '{ printf "%.3f\n", ($12 + $13) / hz }'
}

# ---- one run of each: "SECONDS CPU" of SESSIONS sessions with $1 turns, in boxes or not ($2) ----

peer() { # peer NAME TURNS BOX - in a database of its own
    local before after said
    "$pg/createdb" -h "$socket" -U bench "$1" >&2 || return 1
    before=$(postgres_cpu)
    said=$(BENCH_POSTGRES="postgresql://bench@localhost/$1?host=$socket" NODE_NO_WARNINGS=1 timeout "$RUN_SECONDS_MAX" node "$1.mjs" "$SESSIONS" "$2" "$BYTES" "$3") ||
        { "$pg/dropdb" --force -h "$socket" -U bench "$1"; return 1; }
    after=$(postgres_cpu)
    "$pg/dropdb" --force -h "$socket" -U bench "$1"
    awk -v a="$before" -v b="$after" '{ print $1, $2 + b - a }' <<<"$said"
}
restate() { # restate TURNS BOX
    local before after said
    before=$(restate_cpu)
    said=$(cd restate && BENCH_RESTATE=$restate_dir/bench NODE_NO_WARNINGS=1 timeout "$RUN_SECONDS_MAX" node restate.mjs "$SESSIONS" "$1" "$BYTES" "$2") || return 1
    after=$(restate_cpu)
    awk -v a="$before" -v b="$after" '{ print $1, $2 + b - a }' <<<"$said"
}
langgraph() { peer langgraph "$@"; }
dbos() { peer dbos "$@"; }

nightjar_job() { # nightjar_job NAME TURNS CALL
    local i
    mkdir -p "$1/items"
    for ((i = 1; i <= SESSIONS; i++)); do echo "$i" >"$1/items/$i.txt"; done
    {
        echo "replies:"
        [ "$2" -eq 0 ] || printf '  - {when: {turn: [%s]}, say: "%s", call: [%s]}\n' "$(seq -s , 1 "$2")" \
            "$(head -c "$BYTES" /dev/zero | tr '\0' x)" "$3"
        echo '  - say: "[{last}]"'
    } >"$1/replies.yaml"
    bench_job 16 "sessions: $SESSIONS" >"$1/job.yaml"
}

# nightjar_run NAME - "SECONDS CPU" of the job in that folder; its largest process goes to peak (KiB)
nightjar_run() {
    rm -rf "$1/run"
    timeout "$RUN_SECONDS_MAX" python3 -I - "$1" <<-'PYTHON' || { cat run.log >&2; return 1; }
	import resource, subprocess, sys, time
	begun = time.monotonic()
	with open("run.log", "w", encoding="utf-8") as log:
	    status = subprocess.run(["nightjar", "run", sys.argv[1] + "/job.yaml", "--run-dir", sys.argv[1] + "/run", "--quiet"],
	                            stdout=log, stderr=log, check=False).returncode
	used = resource.getrusage(resource.RUSAGE_CHILDREN)
	print(f"{time.monotonic() - begun:.3f} {used.ru_utime + used.ru_stime:.3f}")
	with open("peak", "a", encoding="utf-8") as peak:
	    print(used.ru_maxrss, file=peak)
	sys.exit(status)
	PYTHON
}

# The start and the end of a run, bundles among it, is no step: a run without turns is taken off.
this() { # this TURNS BOX
    local many few call='{tool: nothing, input: {}}' # not run at all: its answer is the record
    [ "$2" -eq 0 ] || call='{tool: code_execution, input: {language: bash, code: ":"}}'
    nightjar_job many "$1" "$call" && nightjar_job few 0 "" || return 1
    many=$(nightjar_run many) && few=$(nightjar_run few) || return 1
    if [ "$2" -ne 0 ] && grep -v '"result":\[\]' many/run/results.jsonl | grep -q .; then echo "a call failed" >&2; return 1; fi
    awk '$1 > $3 && $2 > $4 { print $1 - $3, $2 - $4; whole = 1 } END { exit !whole }' <<<"$many $few" ||
        { echo "too few turns to be measured: more TURNS or SESSIONS" >&2; return 1; }
    rm -rf many few
}

# ---- rounds and tables ----

# rounds TABLE SECONDS TURNS BOX NAME... - appends to TABLE.NAME; who fails twice is asked no more
rounds() {
    local table=$1 seconds=$2 turns=$3 box=$4 began=$SECONDS round_began round name said
    local -A failed=()
    shift 4
    for ((round = 1; round <= ROUNDS; round++)); do
        round_began=$SECONDS
        for name; do
            [ "${failed[$name]:-0}" -lt 2 ] || continue
            if said=$("$name" "$turns" "$box" 2>"$name.err"); then
                echo "$said" >>"$table.$name"
            else
                failed[$name]=$((${failed[$name]:-0} + 1))
                echo "  $table, round $round: $name failed: $(tail -n 1 "$name.err" | cut -c 1-200)"
            fi
        done
        # Another like the last must fit.
        [ "$round" -lt 2 ] || [ $((2 * SECONDS - round_began - began)) -le "$seconds" ] || break
    done
}

steps_a_second() { awk -v n="$2" '{ print n / $1 }' "$1"; } # FILE STEPS

# table TABLE TITLE STEPS NAME...
table() {
    local table=$1 title=$2 steps=$3 name file ours ours_cpu
    shift 3
    [ -s "$table.this" ] || { echo "$title: ours did not run"; return 1; }
    printf '%-38s %6s %8s %15s %10s %12s %10s\n' "$title" rounds steps/s 'least to most' this/peer 'CPU ms/step' peer/this
    ours=$(steps_a_second "$table.this" "$steps" | median) ours_cpu=$(cut -d' ' -f2 "$table.this" | median)
    for name; do
        file=$table.$name
        [ -s "$file" ] || continue
        steps_a_second "$file" "$steps" | sort -g >sorted
        awk -v name="  $name" -v n="$steps" -v runs="$(wc -l <sorted)" -v rate="$(median <sorted)" -v least="$(head -n 1 sorted)" \
            -v most="$(tail -n 1 sorted)" -v cpu="$(cut -d' ' -f2 "$file" | median)" -v ours="$ours" -v ours_cpu="$ours_cpu" 'BEGIN {
            printf "%-38s %6d %8.0f %7.0f %7.0f %10.2f %12.3f %10.2f\n", name, runs, rate, least, most, ours / rate, 1000 * cpu / n, cpu / ours_cpu }'
    done
    echo
}

# target WHAT LEAST A B - is A / B at least so much? Silent where one of them was not measured.
target() {
    [ -n "$3" ] && [ -n "$4" ] || return 0
    awk -v what="$1" -v least="$2" -v a="$3" -v b="$4" 'BEGIN {
        printf "%-58s %8.2f   at least %5.1f  %s\n", what, a / b, least, (a / b >= least ? "met" : "missed") }'
}

rate_of() { [ ! -s "$1" ] || steps_a_second "$1" "$2" | median; } # FILE STEPS
cpu_of() { [ ! -s "$1" ] || cut -d' ' -f2 "$1" | median; }

cp "$NJ_ROOT"/tests/bench/peers/*.mjs .
names=(this)
if ! npm_node 20.15 || ! NPM_SECONDS_MAX=300 npm_install peers "${PACKAGES[@]}"; then
    echo "DBOS and LangGraph are left out: $npm_why"
elif ! postgres_start; then
    echo "DBOS and LangGraph are left out: $why"
else
    ln -s "$npm_modules" node_modules
    names+=(dbos langgraph)
fi
if ! npm_node 20.15 || ! NPM_SECONDS_MAX=300 npm_install restate "${RESTATE_PACKAGES[@]}"; then
    echo "Restate is left out: $npm_why"
elif ! restate_start; then
    echo "Restate is left out: $why"
else
    mkdir restate && cp restate.mjs turns.mjs restate && ln -s "$npm_modules" restate/node_modules
    names+=(restate)
fi
command -v nightjar >/dev/null || die "no nightjar in build/${NJ_PRESET:-release}/bin: build it first (cmake -C .cmake/release.cmake)"
steps=$((SESSIONS * TURNS * 2)) box_steps=$((SESSIONS * BOX_TURNS * 2))
printf '%s sessions at once, %s steps, %s in boxes; file system: %s; %s processors, load %s\n\n' "$SESSIONS" "$steps" "$box_steps" \
    "$(stat -f -c %T .)" "$(nproc)" "$(cut -d' ' -f1 /proc/loadavg)"
rounds in-process $((SECONDS_MAX * 6 / 10)) "$TURNS" 0 "${names[@]}"
ours_kib=$(sort -g peak | tail -n 1)
table in-process "durable steps, the tool in-process" "$steps" "${names[@]}"
if bwrap --unshare-all --ro-bind / / true 2>bwrap.err; then
    rounds boxed $((SECONDS_MAX * 4 / 10)) "$BOX_TURNS" 1 "${names[@]}"
    table boxed "durable steps, a box per call" "$box_steps" "${names[@]}"
else
    printf 'no box per call: bubblewrap cannot run here: %s\n' "$(head -n 1 bwrap.err)"
fi

ours=$(rate_of in-process.this "$steps") boxed=$(rate_of boxed.this "$box_steps") restate_rate=$(rate_of in-process.restate "$steps")
target "steps a second, in-process, over Restate's" 10 "$ours" "$restate_rate"
target "steps a second, in-process, over DBOS's" 25 "$ours" "$(rate_of in-process.dbos "$steps")"
target "steps a second, in-process, over LangGraph's (PostgreSQL)" 50 "$ours" "$(rate_of in-process.langgraph "$steps")"
target "steps a second, each call in a box, over Restate's in none" 1 "$boxed" "$restate_rate"
target "Restate's CPU a step over ours" 10 "$(cpu_of in-process.restate)" "$(cpu_of in-process.this)"
if [ -n "$restate_server" ]; then
    restate_kib=$(awk '/^VmHWM:/ { print $2 }' "/proc/$restate_server/status")
    target "Restate's server's memory over our engine's" 15 "$restate_kib" "$ours_kib"
    printf '  (%d MB, its node process not in it, and %d MB)\n' $((restate_kib / 1024)) $((ours_kib / 1024))
fi
