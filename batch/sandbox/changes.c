/*
 * changes.c - fanotify and inotify as one set of what may have changed
 *
 * The set holds 64-bit keys: inode numbers as fanotify tells them, hashes of a directory and a name
 * as inotify does. A collision makes a file be read that need not have been; a key is never lost
 * without lost being set.
 */
#include "batch/sandbox/changes.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fanotify.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "batch/sandbox/probe.h"

#include "formats/base/banned.h"

#ifndef FAN_REPORT_TARGET_FID /* Linux 5.17 */
#define FAN_REPORT_TARGET_FID 0x00001000
#endif

#define EVENTS_BYTES (64u << 10)
#define EVENT_BYTES_MAX 1024u      /* two handles and a name, and some */
#define KEYS_MAX ((size_t)1 << 20) /* 16 MiB of memory; beyond, all is read */
#define WATCHES_MAX ((size_t)1 << 20)

/* Directories tell of names, files of their content and attributes. CLOSE_WRITE is what mappings
 * are told by. */
#define FANOTIFY_EVENTS                                                                            \
    (FAN_MODIFY | FAN_ATTRIB | FAN_CLOSE_WRITE | FAN_CREATE | FAN_DELETE | FAN_MOVED_FROM |        \
     FAN_MOVED_TO | FAN_ONDIR)
#define INOTIFY_EVENTS (IN_MODIFY | IN_ATTRIB | IN_CLOSE_WRITE | IN_ONLYDIR | IN_DONT_FOLLOW)

/* A file handle of tmpfs: generation, inode number's low and high half. */
#define TMPFS_HANDLE_TYPE 1
#define TMPFS_HANDLE_BYTES 12u

struct nj_changes {
    enum nj_changes_way way;
    int fd;
    bool lost;
    struct nj_times *times; /* borrowed; NULL: nobody asks in which order */
    pid_t forgotten;        /* whose changes do not count; 0: all do */
    uint64_t *keys;         /* open addressing; 0: free */
    size_t n_keys;
    size_t room_keys;  /* a power of two, or 0 */
    uint64_t *watched; /* of inotify: inode of the directory, by watch */
    size_t n_watched;
};

/* What one read brings, looked through at once. Nobody zeroes it, so a box touches no more of its
 * pages than it needs. */
static uint8_t events[EVENTS_BYTES] __attribute__((aligned(16)));

/* ---- the set ---- */

static size_t slot_of(const struct nj_changes *changes, uint64_t key)
{
    size_t slot = (size_t)(key * UINT64_C(0x9e3779b97f4a7c15) >> 20) & (changes->room_keys - 1);

    while (changes->keys[slot] != 0 && changes->keys[slot] != key)
        slot = (slot + 1) & (changes->room_keys - 1);
    return slot;
}

static bool grow(struct nj_changes *changes)
{
    size_t old_room = changes->room_keys, room = old_room ? 2 * old_room : 256;
    uint64_t *old = changes->keys, *keys;

    if (room > 2 * KEYS_MAX)
        return false;
    keys = calloc(room, sizeof(*keys));
    if (!keys)
        return false;
    changes->keys = keys;
    changes->room_keys = room;
    for (size_t i = 0; i < old_room; i++) {
        if (old[i] != 0)
            keys[slot_of(changes, old[i])] = old[i];
    }
    free(old);
    return true;
}

static void add(struct nj_changes *changes, uint64_t key)
{
    size_t slot;

    if (changes->lost || key == 0)
        return;
    if (2 * changes->n_keys >= changes->room_keys && !grow(changes)) {
        changes->lost = true;
        return;
    }
    slot = slot_of(changes, key);
    changes->n_keys += changes->keys[slot] == 0;
    changes->keys[slot] = key;
}

static bool has(const struct nj_changes *changes, uint64_t key)
{
    return changes->n_keys > 0 && changes->keys[slot_of(changes, key)] != 0;
}

static uint64_t name_key(uint64_t dir_ino, const char *name)
{
    uint64_t hash = UINT64_C(14695981039346656037) ^ dir_ino * UINT64_C(0x9e3779b97f4a7c15);

    for (const char *c = name; *c; c++)
        hash = (hash ^ (uint8_t)*c) * UINT64_C(1099511628211);
    return hash ? hash : 1;
}

/* ---- fanotify ---- */

int nj_changes_mark(const char *path)
{
    nj_auto_close int fd = -1;

    if (nj_probe_is_withheld(NJ_PROBE_FANOTIFY)) {
        errno = EPERM;
        return -1;
    }
    fd = fanotify_init(FAN_CLASS_NOTIF | FAN_NONBLOCK | FAN_CLOEXEC | FAN_REPORT_DFID_NAME |
                           FAN_REPORT_FID | FAN_REPORT_TARGET_FID,
                       O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    if (fanotify_mark(fd, FAN_MARK_ADD | FAN_MARK_FILESYSTEM, FANOTIFY_EVENTS, AT_FDCWD, path) < 0)
        return -1;
    return nj_steal_fd(&fd);
}

/* read_handle - the inode that one record of an event names; false when it is none of tmpfs */
static bool read_handle(const uint8_t *record, size_t bytes, uint64_t *ret_ino)
{
    struct fanotify_event_info_fid info;
    uint32_t header[2], words[3]; /* of struct file_handle: bytes, type */

    if (bytes < sizeof(info) + sizeof(header) + sizeof(words))
        return false;
    memcpy(header, record + sizeof(info), sizeof(header));
    if (header[0] != TMPFS_HANDLE_BYTES || header[1] != TMPFS_HANDLE_TYPE)
        return false;
    memcpy(words, record + sizeof(info) + sizeof(header), sizeof(words));
    *ret_ino = (uint64_t)words[2] << 32 | words[1];
    return true;
}

/* note - for whoever asks in which order */
static void note(struct nj_changes *changes, uint64_t mask, uint64_t dir_ino, uint64_t ino)
{
    const uint64_t names = FAN_CREATE | FAN_DELETE | FAN_MOVED_FROM | FAN_MOVED_TO;
    unsigned what = 0;

    if (!nj_times_is_on(changes->times))
        return;
    if (mask & names)
        nj_times_note(changes->times, dir_ino, NJ_TIMES_ENTRIES);
    else if (ino == 0)
        ino = dir_ino; /* of the directory itself */
    if (mask & FAN_MODIFY)
        what |= NJ_TIMES_CONTENT;
    if (mask & (FAN_ATTRIB | FAN_DELETE | FAN_MOVED_FROM | FAN_MOVED_TO))
        what |= NJ_TIMES_STATUS;
    if (mask & FAN_CREATE)
        what |= NJ_TIMES_MADE;
    if (what != 0)
        nj_times_note(changes->times, ino, what);
}

/* take_fanotify - both the thing and its directory: either may be what has another listing */
static void take_fanotify(struct nj_changes *changes, const uint8_t *event,
                          const struct fanotify_event_metadata *metadata)
{
    uint64_t dir_ino = 0, file_ino = 0;
    bool any = false;

    if (changes->forgotten != 0 && metadata->pid == changes->forgotten)
        return;
    for (size_t at = metadata->metadata_len; at < metadata->event_len;) {
        struct fanotify_event_info_header info;
        uint64_t ino;

        if (metadata->event_len - at < sizeof(info))
            break;
        memcpy(&info, event + at, sizeof(info));
        if (info.len < sizeof(info) || info.len > metadata->event_len - at)
            break;
        if (info.info_type == FAN_EVENT_INFO_TYPE_FID ||
            (info.info_type == FAN_EVENT_INFO_TYPE_DFID_NAME &&
             metadata->mask & (FAN_CREATE | FAN_DELETE | FAN_MOVED_FROM | FAN_MOVED_TO)) ||
            (info.info_type == FAN_EVENT_INFO_TYPE_DFID_NAME && metadata->mask & FAN_ONDIR)) {
            if (!read_handle(event + at, info.len, &ino)) {
                changes->lost = true;
                return;
            }
            add(changes, ino);
            any = true;
            *(info.info_type == FAN_EVENT_INFO_TYPE_FID ? &file_ino : &dir_ino) = ino;
        }
        at += info.len;
    }
    note(changes, metadata->mask, dir_ino, file_ino);
    changes->lost |= !any;
}

/* overrun - the order is lost as well as what changed */
static void overrun(struct nj_changes *changes)
{
    changes->lost = true;
    if (nj_times_is_on(changes->times))
        nj_times_lose(changes->times);
}

static void take_all_fanotify(struct nj_changes *changes, size_t bytes)
{
    struct fanotify_event_metadata metadata;

    for (size_t at = 0; bytes - at >= sizeof(metadata); at += metadata.event_len) {
        memcpy(&metadata, events + at, sizeof(metadata));
        if (metadata.vers != FANOTIFY_METADATA_VERSION || metadata.event_len < sizeof(metadata) ||
            metadata.event_len > bytes - at || metadata.metadata_len < sizeof(metadata)) {
            overrun(changes);
            return;
        }
        if (metadata.mask & FAN_Q_OVERFLOW)
            overrun(changes);
        else
            take_fanotify(changes, events + at, &metadata);
    }
}

/* ---- inotify ---- */

static void take_all_inotify(struct nj_changes *changes, size_t bytes)
{
    struct inotify_event event;

    for (size_t at = 0; bytes - at >= sizeof(event); at += sizeof(event) + event.len) {
        memcpy(&event, events + at, sizeof(event));
        if (event.len > bytes - at - sizeof(event)) {
            changes->lost = true;
            return;
        }
        if (event.mask & IN_Q_OVERFLOW)
            changes->lost = true;
        if (event.len == 0 || event.wd < 0 || (size_t)event.wd >= changes->n_watched)
            continue; /* of the directory itself, which is looked at anyway */
        /* The kernel ends the name with NULs. */
        add(changes,
            name_key(changes->watched[event.wd], (const char *)events + at + sizeof(event)));
    }
}

void nj_changes_watch(struct nj_changes *changes, int dir_fd, uint64_t ino)
{
    size_t wd;
    int r;

    if (changes->way != NJ_CHANGES_INOTIFY)
        return;
    r = fchdir(dir_fd) < 0 ? -1 : inotify_add_watch(changes->fd, ".", INOTIFY_EVENTS);
    wd = (size_t)r;
    if (r >= 0 && wd < WATCHES_MAX) {
        if (wd >= changes->n_watched) {
            size_t room = changes->n_watched ? 2 * changes->n_watched : 256;
            uint64_t *watched;

            while (room <= wd)
                room *= 2;
            watched = reallocarray(changes->watched, room, sizeof(*watched));
            if (!watched) {
                r = -1;
            } else {
                memset(watched + changes->n_watched, 0,
                       (room - changes->n_watched) * sizeof(*watched));
                changes->watched = watched;
                changes->n_watched = room;
            }
        }
        if (r >= 0) {
            changes->watched[wd] = ino;
            return;
        }
    }
    /* A directory that is not heard makes the rest worthless, for good. */
    (void)close(changes->fd);
    changes->fd = -1;
    changes->way = NJ_CHANGES_NOTHING;
}

/* ---- both ---- */

int nj_changes_new(int fanotify_fd, struct nj_changes **ret_changes, struct nj_error *err)
{
    struct nj_changes *changes = calloc(1, sizeof(*changes));
    const char *forced = getenv(NJ_CHANGES_ENV);

    if (!changes) {
        nj_close_auto(&fanotify_fd);
        return nj_fail_nomem(err);
    }
    changes->fd = -1;
    if (forced && fanotify_fd >= 0) {
        (void)close(fanotify_fd);
        fanotify_fd = -1;
    }
    if (fanotify_fd >= 0) {
        changes->way = NJ_CHANGES_FANOTIFY;
        changes->fd = fanotify_fd;
    } else if (!forced || strcmp(forced, "inotify") == 0) {
        changes->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
        changes->way = changes->fd >= 0 ? NJ_CHANGES_INOTIFY : NJ_CHANGES_NOTHING;
    }
    *ret_changes = changes;
    return 0;
}

void nj_changes_free(struct nj_changes *changes)
{
    if (!changes)
        return;
    nj_close_auto(&changes->fd);
    free(changes->keys);
    free(changes->watched);
    free(changes);
}

enum nj_changes_way nj_changes_way(const struct nj_changes *changes)
{
    return changes->way;
}

int nj_changes_fd(const struct nj_changes *changes)
{
    return changes->fd;
}

void nj_changes_drain(struct nj_changes *changes)
{
    while (changes->fd >= 0) {
        ssize_t n = read(changes->fd, events, sizeof(events));

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return;
        if (n <= 0) {
            changes->lost = true;
            return;
        }
        if (changes->way == NJ_CHANGES_FANOTIFY)
            take_all_fanotify(changes, (size_t)n);
        else
            take_all_inotify(changes, (size_t)n);
        if ((size_t)n <= sizeof(events) - EVENT_BYTES_MAX)
            return; /* another event would have had room: there was none */
    }
}

void nj_changes_tell(struct nj_changes *changes, struct nj_times *times)
{
    changes->times = times;
}

void nj_changes_forget_own(struct nj_changes *changes)
{
    changes->forgotten = getpid();
    nj_changes_drain(changes);
    changes->forgotten = 0;
}

bool nj_changes_are_known(const struct nj_changes *changes)
{
    return changes->way != NJ_CHANGES_NOTHING && !changes->lost;
}

bool nj_changes_any(const struct nj_changes *changes)
{
    return !nj_changes_are_known(changes) || changes->n_keys > 0;
}

bool nj_changes_has(const struct nj_changes *changes, uint64_t ino, uint64_t dir_ino,
                    const char *name, bool several)
{
    if (changes->way == NJ_CHANGES_FANOTIFY)
        return has(changes, ino);
    return several || has(changes, name_key(dir_ino, name));
}

bool nj_changes_each(const struct nj_changes *changes, void (*each)(void *ctx, uint64_t ino),
                     void *ctx)
{
    if (changes->way != NJ_CHANGES_FANOTIFY || changes->lost)
        return false;
    for (size_t i = 0; changes->n_keys > 0 && i < changes->room_keys; i++) {
        if (changes->keys[i] != 0)
            each(ctx, changes->keys[i]);
    }
    return true;
}

void nj_changes_lose(struct nj_changes *changes)
{
    changes->lost = true;
}

void nj_changes_done_with(struct nj_changes *changes)
{
    changes->lost = false;
    changes->n_keys = 0;
    if (changes->room_keys > 65536) {
        free(changes->keys);
        changes->keys = NULL;
        changes->room_keys = 0;
    } else if (changes->keys) {
        memset(changes->keys, 0, changes->room_keys * sizeof(*changes->keys));
    }
}
