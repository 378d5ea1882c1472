# A static program that asks the kernel itself: no vDSO, no library in between, addresses of stack and heap.
# equal: D1
# varies
# needs: gcc
set -eu
cat >s.c <<'C'
#include <stdio.h>
#include <stdlib.h>
#include <sys/auxv.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

int main(void)
{
    const unsigned char *random = (const unsigned char *)getauxval(AT_RANDOM);
    struct timespec time;
    struct timeval now;
    unsigned char bytes[8];
    char *heap = malloc(100);

    for (int clock = 0; clock <= 7; clock++) {
        if (clock == 2 || clock == 3)
            continue; /* processor time */
        syscall(SYS_clock_gettime, clock, &time);
        printf("%d %lld.%09ld\n", clock, (long long)time.tv_sec, time.tv_nsec);
    }
    syscall(SYS_gettimeofday, &now, NULL);
    printf("%lld.%06ld %ld\n", (long long)now.tv_sec, (long)now.tv_usec, (long)syscall(SYS_time, NULL));
    syscall(SYS_getrandom, bytes, sizeof(bytes), 0);
    for (int i = 0; i < 8; i++)
        printf("%02x%02x ", bytes[i], random[i]);
    printf("\n%p %p %p %d %d\n", (void *)&time, (void *)heap, (void *)main, (int)getpid(), (int)syscall(SYS_gettid));
    return 0;
}
C
gcc -O1 -static -o s s.c
./s
./s
gcc -O1 -o d s.c
./d
