# Background jobs and xargs: who prints first.
# equal: D3
# varies
set -eu
for i in 1 2 3 4 5 6 7 8; do (echo "$i $BASHPID $RANDOM" >>log) & done; wait; cat log
for i in 3 1 2; do (sleep 0.0$i; echo s$i) & done; wait
seq 10 | xargs -P4 -I{} sh -c 'echo {} $$'
