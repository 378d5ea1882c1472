# Five hundred files over two calls: listings with times, tools that walk.
# equal: D2
set -eu
mkdir t; for i in {1..25}; do mkdir t/d$i; for j in {1..20}; do echo "$i $j" >t/d$i/f$j; done; done
find t -printf '%p %s %T@ %C@\n' | sha256sum
ls -lR --full-time t | head -40
### next call
find t -newer t/d12 | wc -l
find t -printf '%p %s %T@\n' | sha256sum
for i in 3 9 21; do echo more >>t/d$i/f7; rm t/d$i/f9; done
find t -type f -printf '%T@ %p\n' | sort -n | tail -4
ls -f t | head -8
