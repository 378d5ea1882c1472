# A dynamic program's clocks, addresses, canary and random bytes, twice.
# equal: D1
# varies
# needs: gcc
set -eu
cat >c.c <<'C'
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/auxv.h>
#include <sys/random.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

int main(void)
{
    struct timespec real, boot, mono;
    struct timeval now;
    unsigned value;

    clock_gettime(CLOCK_REALTIME, &real);
    clock_gettime(CLOCK_MONOTONIC_RAW, &mono);
    clock_gettime(CLOCK_BOOTTIME, &boot);
    gettimeofday(&now, NULL);
    if (getrandom(&value, sizeof(value), 0) < 0)
        return 1;
    printf("%lld.%09ld %ld.%ld %ld.%ld %ld.%06ld %ld\n", (long long)real.tv_sec, real.tv_nsec, (long)mono.tv_sec,
           mono.tv_nsec, (long)boot.tv_sec, boot.tv_nsec, (long)now.tv_sec, (long)now.tv_usec, (long)time(NULL));
    printf("%08x %08lx %p %p %p %p %d\n", value, *(const unsigned long *)getauxval(AT_RANDOM), (void *)&value,
           malloc(40), malloc(1 << 20), (void *)printf, (int)getpid());
    printf("%lx\n", (unsigned long)pthread_self());
    return 0;
}
C
gcc -O1 -o c c.c; ./c; ./c
