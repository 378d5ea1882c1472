# Perl's hashes and addresses, awk's seed, random bytes and keys of openssl.
# equal: D1
# varies
# needs: perl openssl
set -eu
perl -MTime::HiRes=time -e 'print rand, "\n"; %h = map { $_ => 1 } 1 .. 20; print join(",", keys %h), "\n", time, "\n", \%h, "\n"'
awk 'BEGIN { srand(); print rand() }'
openssl rand -hex 8; openssl genrsa 512 2>/dev/null | sha256sum
