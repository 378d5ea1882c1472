/*
 * random.c - randomness as a function of seed, step, task and how often it asked
 *
 * The call's key is SHA-256 of (seed, step); each task of the call, by its number in the call's pid
 * namespace, draws pieces of a stream of its own, so who else draws meanwhile changes nothing. A
 * piece is SHA-256 in counter mode.
 */
#include <errno.h>

#include "batch/sandbox/virtual/virtual.h"
#include "formats/base/bytes.h"

#include "formats/base/banned.h"

#define GRND_ALL 7u              /* the flags there are */
#define DRAW_MAX_BYTES 33554431u /* the kernel's own bound of one call */
#define PIECE_BYTES 4096
#define DRAWS_MAX 65536 /* tasks of one call that drew; later ones share a stream */

struct block {
    uint8_t key[sizeof(struct nj_digest)];
    uint8_t pid[8];
    uint8_t draw[8];
    uint8_t at[8];
};

static int grow(struct nj_virtual *v, struct nj_error *err)
{
    size_t size = v->draws_size ? 2 * v->draws_size : 64;
    struct nj_draw *draws = calloc(size, sizeof(*draws));

    if (!draws)
        return nj_fail_nomem(err);
    for (size_t i = 0; i < v->draws_size; i++) {
        size_t at = v->draws[i].pid % size;

        if (v->draws[i].pid == 0)
            continue;
        while (draws[at].pid != 0)
            at = (at + 1) % size;
        draws[at] = v->draws[i];
    }
    free(v->draws);
    v->draws = draws;
    v->draws_size = size;
    return 0;
}

static int count_draw(struct nj_virtual *v, uint32_t pid, uint32_t *ret_count, struct nj_error *err)
{
    size_t at;
    int r;

    if (2 * v->n_draws >= v->draws_size) {
        r = v->n_draws < DRAWS_MAX ? grow(v, err) : 0;
        if (r < 0)
            return r;
        if (v->n_draws >= v->draws_size - 1)
            pid = 1;
    }
    for (at = pid % v->draws_size; v->draws[at].pid != pid; at = (at + 1) % v->draws_size) {
        if (v->draws[at].pid == 0) {
            v->draws[at].pid = pid;
            v->n_draws++;
            break;
        }
    }
    *ret_count = v->draws[at].count++;
    return 0;
}

static void stream_block(const struct nj_virtual *v, uint32_t pid, uint32_t draw, uint64_t at,
                         struct nj_digest *ret_digest)
{
    struct block block;

    memcpy(block.key, &v->key, sizeof(block.key));
    nj_store_u64le(block.pid, pid);
    nj_store_u64le(block.draw, draw);
    nj_store_u64le(block.at, at);
    nj_digest_bytes(&block, sizeof(block), ret_digest);
}

static void stream_bytes(const struct nj_virtual *v, uint32_t pid, uint32_t draw, uint64_t from,
                         uint8_t *bytes, size_t len)
{
    for (size_t done = 0; done < len; done += sizeof(struct nj_digest)) {
        size_t part = len - done < sizeof(struct nj_digest) ? len - done : sizeof(struct nj_digest);
        struct nj_digest digest;

        stream_block(v, pid, draw, (from + done) / sizeof(digest), &digest);
        memcpy(bytes + done, &digest, part);
    }
}

int nj_random_bytes(struct nj_virtual *v, uint32_t pid, uint8_t *bytes, size_t len,
                    struct nj_error *err)
{
    uint32_t draw;
    int r;

    r = count_draw(v, pid ? pid : 1, &draw, err);
    if (r >= 0)
        stream_bytes(v, pid, draw, 0, bytes, len);
    return r;
}

enum nj_answer nj_random_getrandom(struct nj_virtual *v, const struct seccomp_notif *notif,
                                   struct seccomp_notif_resp *response)
{
    uint64_t address = notif->data.args[0], len = notif->data.args[1];
    uint32_t pid = nj_virtual_pid(v, (pid_t)notif->pid), draw;
    struct nj_error err;

    if (notif->data.args[2] & ~(uint64_t)GRND_ALL)
        return NJ_ANSWER_CONTINUE;
    if (len > DRAW_MAX_BYTES)
        len = DRAW_MAX_BYTES;
    if (count_draw(v, pid ? pid : 1, &draw, &err) < 0) {
        nj_virtual_lower(v, 0, NJ_LOWERED_LOST);
        return NJ_ANSWER_CONTINUE;
    }
    for (uint64_t done = 0; done < len; done += PIECE_BYTES) {
        size_t part = len - done < PIECE_BYTES ? (size_t)(len - done) : PIECE_BYTES;
        uint8_t bytes[PIECE_BYTES];

        stream_bytes(v, pid, draw, done, bytes, part);
        if (!nj_virtual_write((pid_t)notif->pid, address + done, bytes, part)) {
            response->error = done > 0 ? 0 : -EFAULT;
            response->val = (int64_t)done;
            return NJ_ANSWER_VALUE;
        }
    }
    response->val = (int64_t)len;
    return NJ_ANSWER_VALUE;
}
