/*
 * state_writer.c - the thread that keeps run.json current
 *
 * A publication waits for the disk, which the loop never does. There is one slot: who posts before
 * the thread has come to it replaces what was there, so a slow disk means fewer rewrites and never
 * a queue.
 */
#include "batch/run/state.h"

#include <pthread.h>
#include <signal.h>

#include "formats/base/fsio.h"

#include "formats/base/banned.h"

struct nj_state_writer {
    int dir_fd;
    pthread_t thread;
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t posted;
    char *text;
    bool stop;
};

static void *write_states(void *arg)
{
    struct nj_state_writer *writer = arg;

    pthread_mutex_lock(&writer->lock);
    while (!writer->stop) {
        struct nj_error ignored = {0}; /* see nj_state_writer_post() */
        nj_auto_free char *text = nj_steal_ptr(&writer->text);

        if (!text) {
            pthread_cond_wait(&writer->posted, &writer->lock);
            continue;
        }
        pthread_mutex_unlock(&writer->lock);
        (void)!nj_fsio_publish(writer->dir_fd, NJ_STATE_FILE, nj_span_text(text), 0600, &ignored);
        pthread_mutex_lock(&writer->lock);
    }
    pthread_mutex_unlock(&writer->lock);
    return NULL;
}

/* Signals are the loop's: a thread that took one would only delay it. */
static int start_thread(struct nj_state_writer *writer)
{
    sigset_t all;
    sigset_t before;
    int r;

    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    r = pthread_create(&writer->thread, NULL, write_states, writer);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return r;
}

int nj_state_writer_new(int dir_fd, struct nj_state_writer **ret_writer, struct nj_error *err)
{
    struct nj_state_writer *writer = calloc(1, sizeof(*writer));
    int r;

    if (!writer)
        return nj_fail_nomem(err);
    writer->dir_fd = dir_fd;
    (void)pthread_mutex_init(&writer->lock, NULL);
    (void)pthread_cond_init(&writer->posted, NULL);
    r = start_thread(writer);
    if (r != 0) {
        free(writer);
        return nj_fail_errno(err, r, "start the thread that writes " NJ_STATE_FILE);
    }
    *ret_writer = writer;
    return 0;
}

void nj_state_writer_post(struct nj_state_writer *writer, char *text)
{
    pthread_mutex_lock(&writer->lock);
    free(writer->text);
    writer->text = text;
    pthread_cond_signal(&writer->posted);
    pthread_mutex_unlock(&writer->lock);
}

void nj_state_writer_free(struct nj_state_writer *writer)
{
    if (!writer)
        return;
    pthread_mutex_lock(&writer->lock);
    writer->stop = true;
    pthread_cond_signal(&writer->posted);
    pthread_mutex_unlock(&writer->lock);
    (void)pthread_join(writer->thread, NULL);
    (void)pthread_cond_destroy(&writer->posted);
    (void)pthread_mutex_destroy(&writer->lock);
    free(writer->text);
    free(writer);
}
