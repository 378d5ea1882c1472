# The processor's own random numbers: cannot be caught, must be named.
# equal: never (rdrand)
# needs: gcc
set -eu
cat >r.c <<'C'
#include <immintrin.h>
#include <stdio.h>
int main(void)
{
    unsigned long long value = 0;

    _rdrand64_step(&value);
    printf("%llx\n", value);
    return 0;
}
C
gcc -O1 -mrdrnd -o r r.c; ./r
