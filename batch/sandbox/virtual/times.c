/*
 * times.c - the table of what a call changed
 *
 * The complication is a time that a program sets itself: the kernel tells that times were set, not
 * which, and tells nothing when it refused. So the wish is noted when the call is made, joined with
 * the change that tells it done, and believed as long as the inode's own mtime is what was wished.
 */
#include "batch/sandbox/virtual/times.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "formats/base/banned.h"

#define TICK_NS 20000000 /* of a kernel of 100 Hz, and some */

struct item {
    uint64_t ino; /* 0: free */
    int64_t mtime_ns;
    int64_t ctime_ns;
    int64_t wished_ns;
    unsigned pending; /* what happened since the last sync point */
    bool has_mtime;   /* else the inode's own holds */
    bool has_wish;
    bool written; /* into the inode */
};

struct nj_times {
    struct nj_times_clock clock;
    bool on;
    bool lost;
    bool hears_wishes;
    int64_t real_ns; /* the kernel's clock when the call began */
    uint64_t first_new;
    int64_t synced_ns;  /* the clock at the last sync point */
    struct item *items; /* open addressing */
    size_t n_items;
    size_t room_items; /* a power of two, or 0 */
    uint64_t *order;   /* inodes with something pending, the first change first */
    uint64_t *others;  /* as much room, for putting them in order */
    size_t n_order;
    size_t room_order;
    struct nj_times_wish wishes[NJ_TIMES_WISHES_MAX];
    size_t n_wishes;
};

int nj_times_new(struct nj_times **ret_times, struct nj_error *err)
{
    struct nj_times *times = calloc(1, sizeof(*times));

    if (!times)
        return nj_fail_nomem(err);
    *ret_times = times;
    return 0;
}

void nj_times_free(struct nj_times *times)
{
    if (!times)
        return;
    free(times->items);
    free(times->order);
    free(times->others);
    free(times);
}

static int64_t simple_now(void *ctx)
{
    return *(int64_t *)ctx;
}

static void simple_advance(void *ctx, int64_t ns)
{
    *(int64_t *)ctx += ns;
}

struct nj_times_clock nj_times_simple_clock(int64_t *ns)
{
    return (struct nj_times_clock){simple_now, simple_advance, ns};
}

/* ---- the table ---- */

static size_t slot_of(const struct nj_times *times, uint64_t ino)
{
    size_t slot = (size_t)(ino * UINT64_C(0x9e3779b97f4a7c15) >> 20) & (times->room_items - 1);

    while (times->items[slot].ino != 0 && times->items[slot].ino != ino)
        slot = (slot + 1) & (times->room_items - 1);
    return slot;
}

static bool grow(struct nj_times *times)
{
    size_t old_room = times->room_items, room = old_room ? 2 * old_room : 256;
    struct item *old = times->items, *items;

    if (room > 2 * (size_t)NJ_TIMES_MAX)
        return false;
    items = calloc(room, sizeof(*items));
    if (!items)
        return false;
    times->items = items;
    times->room_items = room;
    for (size_t i = 0; i < old_room; i++) {
        if (old[i].ino != 0)
            items[slot_of(times, old[i].ino)] = old[i];
    }
    free(old);
    return true;
}

static struct item *find(const struct nj_times *times, uint64_t ino)
{
    struct item *item = times->n_items > 0 ? &times->items[slot_of(times, ino)] : NULL;

    return item && item->ino != 0 ? item : NULL;
}

/* need - the inode's item; NULL when there are too many */
static struct item *need(struct nj_times *times, uint64_t ino)
{
    struct item *item;

    if (ino == 0)
        return NULL;
    if (2 * times->n_items >= times->room_items && !grow(times)) {
        times->lost = true;
        return find(times, ino);
    }
    item = &times->items[slot_of(times, ino)];
    times->n_items += item->ino == 0;
    item->ino = ino;
    return item;
}

static bool is_new(const struct nj_times *times, uint64_t ino)
{
    return times->first_new > 0 && ino >= times->first_new;
}

/* ---- a call ---- */

static int64_t real_now(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

void nj_times_begin(struct nj_times *times, const struct nj_times_clock *clock, uint64_t first_new)
{
    times->clock = *clock;
    times->on = true;
    times->first_new = first_new;
    times->synced_ns = clock->now(clock->ctx);
    times->hears_wishes = false;
    times->real_ns = real_now();
}

void nj_times_hear_wishes(struct nj_times *times)
{
    times->hears_wishes = true;
}

void nj_times_end(struct nj_times *times)
{
    times->on = false;
    times->lost = false;
    times->n_items = times->n_order = times->n_wishes = 0;
    if (times->room_items > 65536) {
        free(times->items);
        free(times->order);
        free(times->others);
        times->items = NULL;
        times->order = times->others = NULL;
        times->room_items = times->room_order = 0;
    } else if (times->items) {
        memset(times->items, 0, times->room_items * sizeof(*times->items));
    }
}

bool nj_times_is_on(const struct nj_times *times)
{
    return times && times->on;
}

void nj_times_lose(struct nj_times *times)
{
    times->lost = true;
}

bool nj_times_lost(const struct nj_times *times)
{
    return times->lost;
}

void nj_times_note(struct nj_times *times, uint64_t ino, unsigned what)
{
    struct item *item = need(times, ino);

    if (!item)
        return;
    if (item->pending == 0) {
        if (times->n_order == times->room_order) {
            size_t room = times->room_order ? 2 * times->room_order : 256;
            uint64_t *order = reallocarray(times->order, room, sizeof(*order)), *others;

            if (order)
                times->order = order;
            others = order ? reallocarray(times->others, room, sizeof(*others)) : NULL;
            if (!others) {
                times->lost = true;
                return;
            }
            times->others = others;
            times->room_order = room;
        }
        times->order[times->n_order++] = ino;
    }
    item->pending |= what;
}

/* ---- wishes ---- */

static void drop_wish(struct nj_times *times, size_t index)
{
    times->n_wishes--;
    memmove(&times->wishes[index], &times->wishes[index + 1],
            (times->n_wishes - index) * sizeof(times->wishes[0]));
}

void nj_times_wish(struct nj_times *times, const struct nj_times_wish *wish)
{
    if (times->n_wishes == NJ_TIMES_WISHES_MAX) { /* as many tasks within the same call */
        times->lost = true;
        drop_wish(times, 0);
    }
    times->wishes[times->n_wishes++] = *wish;
}

/* take_wishes - those for the inode came true; the last one counts */
static void take_wishes(struct nj_times *times, struct item *item, int64_t now)
{
    for (size_t i = 0; i < times->n_wishes;) {
        const struct nj_times_wish *wish = &times->wishes[i];

        if (wish->ino != item->ino) {
            i++;
            continue;
        }
        if (wish->sets_mtime && wish->is_now) {
            item->mtime_ns = now;
            item->has_mtime = true;
            item->has_wish = false;
        } else if (wish->sets_mtime) {
            item->wished_ns = wish->mtime_ns;
            item->has_wish = true;
        }
        drop_wish(times, i);
    }
}

/* ---- sync points ---- */

static void settle_item(struct nj_times *times, struct item *item, int64_t now)
{
    unsigned what = item->pending;

    item->pending = 0;
    item->ctime_ns = now;
    item->written = false;
    if (what & (NJ_TIMES_CONTENT | NJ_TIMES_ENTRIES) ||
        (what & NJ_TIMES_MADE && is_new(times, item->ino))) {
        item->mtime_ns = now;
        item->has_mtime = true;
        item->has_wish = false;
    }
    /* Written and set within one interval: which was last, the inode's own mtime tells. */
    if (what & NJ_TIMES_STATUS)
        take_wishes(times, item, now);
}

static int compare_inodes(const void *a, const void *b)
{
    const uint64_t first = *(const uint64_t *)a, second = *(const uint64_t *)b;

    return (first > second) - (first < second);
}

/* put_in_order - directories behind the rest */
static void put_in_order(struct nj_times *times)
{
    size_t n = 0;

    for (size_t i = 0; i < times->n_order; i++) {
        uint64_t ino = times->order[i];

        if (!(find(times, ino)->pending & NJ_TIMES_ENTRIES))
            times->others[n++] = ino;
    }
    for (size_t i = 0, at = n; i < times->n_order; i++) {
        if (find(times, times->order[i])->pending & NJ_TIMES_ENTRIES)
            times->others[at++] = times->order[i];
    }
    if (times->n_order - n > 1)
        qsort(times->others + n, times->n_order - n, sizeof(*times->others), compare_inodes);
    if (times->n_order > 0)
        memcpy(times->order, times->others, times->n_order * sizeof(*times->order));
}

void nj_times_settle(struct nj_times *times, pid_t tid)
{
    int64_t now = times->synced_ns;

    put_in_order(times);
    for (size_t i = 0; i < times->n_order; i++)
        settle_item(times, find(times, times->order[i]), ++now);
    if (times->n_order > 0)
        times->clock.advance(times->clock.ctx, (int64_t)times->n_order);
    times->n_order = 0;
    times->synced_ns = times->clock.now(times->clock.ctx);
    /* Whoever makes another call is done with the one before: its wish was refused. */
    for (size_t i = 0; tid != 0 && i < times->n_wishes;) {
        if (times->wishes[i].tid == tid)
            drop_wish(times, i);
        else
            i++;
    }
}

/* ---- answers ---- */

/* is_set - a program set the inode's mtime, and nothing wrote to it after. File systems date by a
 * clock of ticks, which lags behind. */
static bool is_set(const struct nj_times *times, const struct item *item, int64_t mtime_ns)
{
    if (times->hears_wishes)
        return item->has_wish && item->wished_ns == mtime_ns;
    return mtime_ns < times->real_ns - TICK_NS || mtime_ns > real_now();
}

bool nj_times_knows(const struct nj_times *times, uint64_t ino)
{
    return find(times, ino) != NULL;
}

bool nj_times_is_due(const struct nj_times *times, uint64_t ino)
{
    const struct item *item = find(times, ino);

    return item ? item->pending != 0 : times->on && is_new(times, ino);
}

void nj_times_find(struct nj_times *times, uint64_t ino, int64_t mtime_ns, int64_t atime_ns,
                   int64_t *ret_mtime_ns, int64_t *ret_ctime_ns)
{
    struct item *item = find(times, ino);

    *ret_mtime_ns = mtime_ns;
    *ret_ctime_ns = atime_ns;
    if (!item && times->on && is_new(times, ino)) {
        item = need(times, ino);
        if (item) {
            item->mtime_ns = item->ctime_ns = times->synced_ns;
            item->has_mtime = true;
        }
    }
    if (!item || item->ctime_ns == 0)
        return;
    *ret_ctime_ns = item->ctime_ns;
    if (item->has_mtime && !is_set(times, item, mtime_ns))
        *ret_mtime_ns = item->mtime_ns;
}

bool nj_times_changed(struct nj_times *times, uint64_t ino)
{
    struct item *item = find(times, ino);

    if (!item ? !(times->on && is_new(times, ino)) : item->written)
        return false;
    if (!item)
        item = need(times, ino);
    if (!item)
        return false;
    if (item->ctime_ns == 0) {
        item->mtime_ns = item->ctime_ns = times->synced_ns;
        item->has_mtime = true;
    }
    item->written = true;
    return true;
}
