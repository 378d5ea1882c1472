# Sorting with several threads, shuffling, samples.
# equal: D1
# times: D3
# varies
set -eu
seq 1 7 300000 | awk '{ print ($1 * 7919) % 1000003 }' >numbers
sort --parallel=4 -n numbers >sorted; sort -R numbers | head -3; shuf -n 3 numbers; shuf -i 1-9 | tr '\n' ' '
sha256sum sorted
