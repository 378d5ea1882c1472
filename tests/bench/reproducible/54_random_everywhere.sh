# Random bytes by every door, by many processes.
# equal: D1
# varies
# needs: python3 openssl
set -eu
for i in 1 2 3; do head -c 16 /dev/urandom | od -An -tx1; head -c 8 /dev/random | od -An -tx8; done
dd if=/dev/urandom bs=70000 count=1 status=none | sha256sum
for i in 1 2 3; do python3 -c 'import os, random, secrets; print(os.getrandom(6).hex(), random.getrandbits(64), secrets.token_urlsafe(6))'; done
openssl rand -hex 12; bash -c 'echo $SRANDOM $RANDOM'
[ -c /dev/urandom ] && stat -c %F /dev/urandom
cat /proc/sys/kernel/random/uuid | wc -c
