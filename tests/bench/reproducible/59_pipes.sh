# Data through pipes, a FIFO and several readers.
# equal: D3
set -eu
mkfifo f
(for i in {1..200}; do echo "$i"; done >f) &
sort -n <f | tail -1; wait
yes | head -c 300000 | tr y x | wc -c
seq 1 20000 | tee >(sha256sum >a) >(wc -l >b) | tail -1
while [ ! -s a ] || [ ! -s b ]; do sleep 0.01; done; cat a b
for i in 1 2 3 4; do (for j in 1 2 3 4 5; do echo "$i.$j"; done) & done | cat
