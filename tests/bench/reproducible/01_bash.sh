# The shell's own sources of chance and time, process numbers, temporary names.
# equal: D1
# varies
set -eu
echo "$RANDOM $RANDOM $SRANDOM $$ $BASHPID $PPID $EPOCHREALTIME $SECONDS"
date +%s.%N
mktemp /tmp/a.XXXXXX
d=$(mktemp -d -p .); echo "$d"; echo x >"$d/a"
(echo "$BASHPID"); sh -c 'echo $$ $PPID'
echo "$RANDOM" >random.txt; date >date.txt
