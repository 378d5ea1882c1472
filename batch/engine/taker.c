/*
 * taker.c - one thread, the takes that wait for it, and the pieces that wait for the loop
 *
 * The one complication is who may touch what. A take belongs to the thread while it is WORKING and
 * to the loop otherwise, and so does the session's index, which both may read at any time; the
 * take's state and both queues are under the taker's lock. What the thread remembers of objects
 * (recent.h) is right only as long as the loop appends all that it was handed: behind a take that
 * ended early it remembers nothing.
 */
#include "batch/engine/taker.h"

#include <assert.h>
#include <errno.h>
#include <event2/event.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/queue.h>

#include "batch/engine/recent.h"

#include "formats/base/banned.h"

#define ITEMS_MAX 256u               /* of a piece: half a millisecond of the loop */
#define READ_PIECE_BYTES (1u << 20)  /* of objects, known ones too: that ends it as well */
#define STORED_MAX_BYTES (64u << 20) /* of a piece: one object is never cut */

enum state { IDLE, QUEUED, WORKING, READY };

struct nj_take {
    TAILQ_ENTRY(nj_take) link;
    struct nj_taker *taker;
    enum state state;
    bool over; /* its last piece, or its failure, was told */
    struct nj_take_setup setup;
    uint8_t *map;
    struct nj_span rest; /* of the map: not looked at yet */
    struct nj_take_piece piece;
    struct nj_object_index in_piece; /* the same may come twice */
    struct nj_object_index grown;    /* the session's, where it has no room for the piece */
    struct nj_buf stored;            /* its bytes */
    struct nj_buf unpacked;          /* one object, encoded */
    struct nj_error err;             /* code 0: none */
};
TAILQ_HEAD(take_list, nj_take);

struct nj_taker {
    struct event *ready;
    int ready_fd;
    pthread_t thread;
    bool runs;
    struct nj_journal *reader; /* the thread's */
    struct nj_recent *recent;  /* the thread's */

    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t changed;
    struct take_list queued;
    struct take_list done;
    bool forget; /* what is remembered may be wrong */
    bool stale;  /* so may be the files that the reader keeps open */
    bool stop;
};

/* ---- in the thread ---- */

static int read_object(void *ctx, const struct nj_digest *digest, struct nj_buf *out,
                       struct nj_error *err)
{
    const struct nj_take *take = ctx;
    const struct nj_journal_place *place = nj_object_index_find(take->setup.index, digest);

    if (!place)
        return nj_fail(err, NJ_E_CORRUPT, "it is not there");
    return nj_journal_read(take->taker->reader, place, out, err);
}

/* add - one object to the piece, unless the session has it */
static int add(struct nj_take *take, const struct nj_object *object, struct nj_error *err)
{
    const struct nj_object_shelf shelf = {.read = read_object, .ctx = take};
    struct nj_recent *recent = take->taker->recent;
    struct nj_taken *taken = &take->piece.items[take->piece.n_items];
    const struct nj_journal_place somewhere = {.bytes = 1};
    int r;

    if (nj_object_index_find(&take->in_piece, &object->digest) ||
        nj_object_index_find(take->setup.index, &object->digest))
        return 0;
    (void)nj_recent_fetch(recent, take->setup.owner, &shelf, object, NJ_OBJECT_DELTA_MAX_BYTES);
    nj_buf_clear(&take->unpacked);
    r = nj_recent_encode(recent, take->setup.owner, object, &take->unpacked, err);
    if (r >= 0)
        r = nj_journal_store(nj_buf_span(&take->unpacked), &take->stored, &taken->stored, err);
    if (r >= 0)
        r = nj_object_index_add(&take->in_piece, &object->digest, &somewhere, err);
    if (r < 0)
        return r;
    taken->digest = object->digest;
    take->piece.n_items++;
    return 0;
}

/* place_items - where their bytes are, now that the buffer does not grow any more */
static void place_items(struct nj_take *take)
{
    const uint8_t *at = take->stored.data;

    for (size_t i = 0; i < take->piece.n_items; i++) {
        struct nj_span *bytes = &take->piece.items[i].stored.bytes;

        bytes->data = at;
        at += bytes->len;
    }
}

static int make_piece(struct nj_take *take, struct nj_error *err)
{
    const uint8_t *start = take->rest.data;

    take->piece.n_items = 0;
    nj_buf_clear(&take->stored);
    nj_object_index_done(&take->in_piece);
    while (take->rest.len > 0 && take->piece.n_items < ITEMS_MAX &&
           take->stored.len < NJ_TAKE_PIECE_BYTES &&
           (size_t)(take->rest.data - start) < READ_PIECE_BYTES) {
        struct nj_object object;
        size_t len;
        int r;

        r = nj_object_decode(take->rest, true, &object, &len, err);
        if (r >= 0)
            r = add(take, &object, err);
        if (r < 0)
            return r;
        take->rest = (struct nj_span){take->rest.data + len, take->rest.len - len};
    }
    place_items(take);
    take->piece.last = take->rest.len == 0;
    if (!nj_object_index_has_room(take->setup.index, take->piece.n_items))
        return nj_object_index_grown(take->setup.index, take->piece.n_items, &take->grown, err);
    return 0;
}

static void unmap(struct nj_take *take)
{
    if (take->map)
        (void)munmap(take->map, take->setup.bytes);
    take->map = NULL;
    if (take->setup.fd >= 0)
        (void)close(nj_steal_fd(&take->setup.fd)); /* which frees its pages: not in the loop */
}

static void work(struct nj_take *take)
{
    struct nj_error err = {0};

    if (make_piece(take, &err) < 0)
        take->err = err;
    if (take->err.code != 0 || take->piece.last)
        unmap(take);
}

static void *take_all(void *arg)
{
    struct nj_taker *taker = arg;
    uint64_t one = 1;

    pthread_mutex_lock(&taker->lock);
    while (!taker->stop) {
        struct nj_take *take = TAILQ_FIRST(&taker->queued);

        if (taker->stale) {
            taker->stale = false;
            pthread_mutex_unlock(&taker->lock);
            nj_journal_forget(taker->reader, 0);
            pthread_mutex_lock(&taker->lock);
            continue;
        }
        if (!take) {
            pthread_cond_wait(&taker->changed, &taker->lock);
            continue;
        }
        TAILQ_REMOVE(&taker->queued, take, link);
        take->state = WORKING;
        if (taker->forget)
            nj_recent_clear(taker->recent);
        taker->forget = false;
        pthread_mutex_unlock(&taker->lock);
        work(take);

        pthread_mutex_lock(&taker->lock);
        take->state = READY;
        TAILQ_INSERT_TAIL(&taker->done, take, link);
        pthread_cond_broadcast(&taker->changed);
        (void)!write(taker->ready_fd, &one, sizeof(one)); /* an eventfd at its limit still wakes */
    }
    pthread_mutex_unlock(&taker->lock);
    return NULL;
}

/* ---- in the loop ---- */

static void tell(struct nj_take *take)
{
    if (take->err.code != 0)
        take->setup.ready(take->setup.ctx, NULL, &take->err);
    else
        take->setup.ready(take->setup.ctx, &take->piece, NULL);
}

/* One a turn: whatever else has come goes in between. */
static void on_ready(evutil_socket_t fd, short what, void *arg)
{
    struct nj_taker *taker = arg;
    struct nj_take *take;
    uint64_t count;
    bool more;

    (void)what;
    (void)!read(fd, &count, sizeof(count)); /* only a wake-up; what is done is under the lock */
    pthread_mutex_lock(&taker->lock);
    take = TAILQ_FIRST(&taker->done);
    if (take) {
        TAILQ_REMOVE(&taker->done, take, link);
        take->state = IDLE;
        take->over = take->err.code != 0 || take->piece.last;
    }
    more = !TAILQ_EMPTY(&taker->done);
    pthread_mutex_unlock(&taker->lock);
    if (more)
        event_active(taker->ready, EV_TIMEOUT, 0);
    if (take)
        tell(take);
}

int nj_taker_new(struct event_base *base, int journal_fd, struct nj_taker **ret_taker,
                 struct nj_error *err)
{
    NJ_AUTO(nj_taker_free) struct nj_taker *taker = calloc(1, sizeof(*taker));
    sigset_t all, before;
    int r;

    if (!taker)
        return nj_fail_nomem(err);
    TAILQ_INIT(&taker->queued);
    TAILQ_INIT(&taker->done);
    pthread_mutex_init(&taker->lock, NULL);
    pthread_cond_init(&taker->changed, NULL);
    taker->ready_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (taker->ready_fd < 0)
        return nj_fail_errno(err, errno, "eventfd");
    taker->ready = event_new(base, taker->ready_fd, EV_READ | EV_PERSIST, on_ready, taker);
    if (!taker->ready || event_add(taker->ready, NULL) < 0)
        return nj_fail_nomem(err);
    event_priority_set(taker->ready, 1); /* behind what is short */
    if (nj_journal_open(journal_fd, &taker->reader, err) < 0 ||
        nj_recent_new(NJ_RECENT_MAX_BYTES, &taker->recent, err) < 0)
        return -(int)err->code;
    sigfillset(&all); /* signals are the loop's */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    r = pthread_create(&taker->thread, NULL, take_all, taker);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (r != 0)
        return nj_fail_errno(err, r, "start a thread for what calls leave");
    taker->runs = true;
    *ret_taker = nj_steal_ptr(&taker);
    return 0;
}

void nj_taker_forget(struct nj_taker *taker)
{
    pthread_mutex_lock(&taker->lock);
    taker->stale = true;
    pthread_cond_broadcast(&taker->changed);
    pthread_mutex_unlock(&taker->lock);
}

void nj_taker_free(struct nj_taker *taker)
{
    if (!taker)
        return;
    if (taker->runs) {
        pthread_mutex_lock(&taker->lock);
        taker->stop = true;
        pthread_cond_broadcast(&taker->changed);
        pthread_mutex_unlock(&taker->lock);
        pthread_join(taker->thread, NULL);
    }
    assert(TAILQ_EMPTY(&taker->queued) && TAILQ_EMPTY(&taker->done));
    if (taker->ready)
        event_free(taker->ready);
    if (taker->ready_fd >= 0)
        (void)close(taker->ready_fd);
    nj_journal_free(taker->reader);
    nj_recent_free(taker->recent);
    pthread_mutex_destroy(&taker->lock);
    pthread_cond_destroy(&taker->changed);
    free(taker);
}

static void take_free(struct nj_take *take)
{
    if (!take)
        return;
    unmap(take);
    nj_object_index_done(&take->in_piece);
    nj_object_index_done(&take->grown);
    nj_buf_done(&take->stored);
    nj_buf_done(&take->unpacked);
    free(take->piece.items);
    free(take);
}
NJ_DEFINE_AUTO_PTR(struct nj_take, take_free);

int nj_take_start(struct nj_taker *taker, const struct nj_take_setup *setup,
                  struct nj_take **ret_take, struct nj_error *err)
{
    nj_auto_close int fd = setup->fd;
    NJ_AUTO(take_free) struct nj_take *take = calloc(1, sizeof(*take));
    void *map;

    if (!take)
        return nj_fail_nomem(err);
    take->taker = taker;
    take->setup = *setup;
    take->setup.fd = nj_steal_fd(&fd);
    take->piece.items = calloc(ITEMS_MAX, sizeof(*take->piece.items));
    if (!take->piece.items)
        return nj_fail_nomem(err);
    nj_buf_init(&take->stored, STORED_MAX_BYTES);
    nj_buf_init(&take->unpacked, NJ_FRAME_PAYLOAD_MAX_BYTES);
    map = mmap(NULL, setup->bytes, PROT_READ, MAP_PRIVATE, take->setup.fd, 0);
    if (map == MAP_FAILED)
        return nj_fail_errno(err, errno, "map what a call left");
    take->map = map;
    take->rest = (struct nj_span){map, setup->bytes};
    *ret_take = take;
    nj_take_next(nj_steal_ptr(&take));
    return 0;
}

void nj_take_next(struct nj_take *take)
{
    struct nj_taker *taker = take->taker;

    assert(take->state == IDLE && !take->over);
    pthread_mutex_lock(&taker->lock);
    take->state = QUEUED;
    TAILQ_INSERT_TAIL(&taker->queued, take, link);
    pthread_cond_broadcast(&taker->changed);
    pthread_mutex_unlock(&taker->lock);
}

int nj_take_note(struct nj_take *take, struct nj_object_index *index,
                 const struct nj_digest *digest, const struct nj_journal_place *place,
                 struct nj_error *err)
{
    int r;

    assert(take->state == IDLE);
    if (take->grown.cap > 0) {
        nj_object_index_done(index);
        *index = take->grown;
        take->grown = (struct nj_object_index){0};
    }
    r = nj_object_index_add(index, digest, place, err);
    if (r < 0)
        take->err = *err; /* the piece was its last, perhaps, but not all of it is there */
    return r;
}

void nj_take_cancel(struct nj_take *take)
{
    struct nj_taker *taker;

    if (!take)
        return;
    taker = take->taker;
    pthread_mutex_lock(&taker->lock);
    while (take->state == WORKING)
        pthread_cond_wait(&taker->changed, &taker->lock);
    if (take->state == QUEUED)
        TAILQ_REMOVE(&taker->queued, take, link);
    else if (take->state == READY)
        TAILQ_REMOVE(&taker->done, take, link);
    if (!take->over || take->err.code != 0)
        taker->forget = true;
    pthread_mutex_unlock(&taker->lock);
    take_free(take);
}
