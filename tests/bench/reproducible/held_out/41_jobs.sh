# A shell's jobs: coprocess, wait -n, traps, a process that is stopped and goes on.
# equal: D3
# varies
set -eu
coproc counter { while read -r x; do echo $((x * 2)); done; }
for i in 1 2 3; do echo "$i" >&"${counter[1]}"; read -r y <&"${counter[0]}"; echo "$i $y"; done
exec {counter[1]}>&-; wait "$counter_PID" || true
trap 'echo usr1 at $SECONDS' USR1
(sleep 0.05; kill -USR1 $$) &
sleep 0.1
wait
for t in 0.06 0.02 0.04; do (sleep $t; echo "after $t"; exit 0) & done
while wait -n 2>/dev/null; do echo "one is back $RANDOM"; [ -n "$(jobs -r)" ] || break; done
sleep 5 & p=$!
kill -STOP $p; kill -CONT $p; kill $p
wait $p || echo "ended with $?"
timeout 0.1 sleep 5 || echo "timeout $?"
echo "$! $$ $BASHPID"
