/*
 * queue.h - which session may begin next
 *
 * Pure: sessions are numbers, times are given. A session may begin while fewer than
 * limits.sessions are alive in the run, in its group and of its agent, and when every group that
 * its own comes after has ended. Groups go in the order of the manifest, sessions in that of the
 * plan; one that failed and is tried again goes before those of its group that have not begun, as
 * soon as its time has come. Each call costs the number of groups, whatever the number of sessions.
 *
 *     WAITING ──take──▶ ALIVE ──end──▶ ENDED ──again──▶ DELAYED (until its time) ──take──▶ ALIVE
 *                         └──park──▶ PARKED: suspended alone; what comes after it does not begin
 */
#ifndef NJ_QUEUE_H
#define NJ_QUEUE_H

#include "formats/manifest/manifest.h"

enum nj_queue_place {
    NJ_QUEUE_WAITING,
    NJ_QUEUE_DELAYED,
    NJ_QUEUE_ALIVE,
    NJ_QUEUE_PARKED,
    NJ_QUEUE_ENDED
};

struct nj_queue;

/* nj_queue_new - @groups[i] is session i's group; sessions of a group lie together. @manifest is
 * borrowed for the queue's life. */
int nj_queue_new(const struct nj_manifest *manifest, const size_t *groups, size_t n_sessions,
                 struct nj_queue **ret_queue, struct nj_error *err) NJ_MUST_USE;
void nj_queue_free(struct nj_queue *queue);
NJ_DEFINE_AUTO_PTR(struct nj_queue, nj_queue_free);

/* nj_queue_take - the next session that may begin at @now_ms, which is then alive. Returns whether
 * there is one. */
bool nj_queue_take(struct nj_queue *queue, int64_t now_ms, size_t *ret_session);

/* nj_queue_end - a session has ended: one alive, or (when a run is gone on with) one waiting */
void nj_queue_end(struct nj_queue *queue, size_t session);

/* nj_queue_again - a session that has ended begins anew, not before @due_ms */
int nj_queue_again(struct nj_queue *queue, size_t session, int64_t due_ms,
                   struct nj_error *err) NJ_MUST_USE;

/* nj_queue_park - a session alive is suspended for this process */
void nj_queue_park(struct nj_queue *queue, size_t session);

enum nj_queue_place nj_queue_place(const struct nj_queue *queue, size_t session);
size_t nj_queue_count(const struct nj_queue *queue, enum nj_queue_place place);

/* nj_queue_next_due_ms - when the first of those that are DELAYED and whose time lies behind
 * @now_ms may begin; INT64_MAX: there is none */
int64_t nj_queue_next_due_ms(const struct nj_queue *queue, int64_t now_ms);

#endif
