# The processor's own counter, read without the kernel: the level says so ("rdtsc", at most D1).
# equal: never
# needs: gcc
set -eu
cat >t.c <<'C'
#include <stdio.h>
#include <x86intrin.h>
int main(void)
{
    unsigned cpu;
    unsigned long long a = __rdtsc(), b = __rdtscp(&cpu);

    printf("%llu %llu %d\n", a, b, b > a);
    return 0;
}
C
gcc -O1 -o t t.c; ./t; ./t
