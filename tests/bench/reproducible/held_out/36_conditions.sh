# Four threads hand work to one another by conditions with timeouts: who comes when is the scheduler's.
# equal: D3
# needs: gcc
set -eu
cat >c.c <<'C'
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t turn = PTHREAD_COND_INITIALIZER;
static int queue[64], n_queue, timeouts, served[4];

static void *work(void *ctx)
{
    long me = (long)ctx;

    pthread_mutex_lock(&lock);
    for (;;) {
        struct timespec until;

        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += (me + 1) * 3000000;
        if (until.tv_nsec >= 1000000000) {
            until.tv_nsec -= 1000000000;
            until.tv_sec++;
        }
        if (n_queue == 0 && pthread_cond_timedwait(&turn, &lock, &until) == ETIMEDOUT)
            timeouts++;
        if (n_queue > 0) {
            int item = queue[--n_queue];

            served[me]++;
            printf("%d by %ld\n", item, me);
            if (item < 0)
                break;
        }
    }
    pthread_mutex_unlock(&lock);
    return NULL;
}

int main(void)
{
    pthread_t threads[4];

    for (long i = 0; i < 4; i++)
        pthread_create(&threads[i], NULL, work, (void *)i);
    for (int i = 0; i < 24; i++) {
        const struct timespec pause = {0, i % 5 * 1500000};

        pthread_mutex_lock(&lock);
        queue[n_queue++] = i;
        pthread_mutex_unlock(&lock);
        pthread_cond_signal(&turn);
        nanosleep(&pause, NULL);
    }
    for (int i = 0; i < 4; i++) {
        pthread_mutex_lock(&lock);
        queue[n_queue++] = -1;
        pthread_mutex_unlock(&lock);
        pthread_cond_broadcast(&turn);
    }
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    printf("timeouts %d served %d %d %d %d\n", timeouts, served[0], served[1], served[2], served[3]);
    return 0;
}
C
gcc -O2 -pthread -o c c.c
./c
