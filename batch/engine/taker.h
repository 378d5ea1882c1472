/*
 * taker.h - what calls left, made ready for the journal on a thread beside the loop
 *
 * A supervisor walks, cuts and hashes a workspace and hands over its new objects in a sealed memfd
 * (sandbox.h). They are not believed: a supervisor stands next to what an agent runs, and an object
 * under another's digest would hide what the session stores under that later, and could not be
 * published, which stops the run. So here each object is decoded with all its bounds, its bytes are
 * digested again, what the session has already is left out, and the rest is stored as a change of
 * what was before (recent.h) and compressed. That this is not done in the supervisor has one
 * reason: of compressed bytes the check would cost more than of plain ones, and the engine would
 * have to do it all the same.
 *
 * The loop gets pieces of bounded length, ready to be appended, and asks for the next:
 *
 *     nj_take_start() -> on_piece -> nj_take_note() each, nj_take_next() -> on_piece ... the last
 *
 * One thread serves several takes in turn, a piece of each. While it makes a piece it reads the
 * session's index, which must not change then: objects are noted between two pieces, and in no
 * other way while a take is under way. It reads the journal at the places in there, too, so that no
 * segment may be thinned meanwhile.
 */
#ifndef NJ_TAKER_H
#define NJ_TAKER_H

#include "batch/run/object_index.h"

#define NJ_TAKE_PIECE_BYTES (128u << 10) /* stored bytes behind which a piece ends */

struct event_base;
struct nj_taker;
struct nj_take;

/* An object as it is to be appended. */
struct nj_taken {
    struct nj_digest digest;
    struct nj_journal_stored stored; /* bytes: in the piece */
};

struct nj_take_piece {
    struct nj_taken *items;
    size_t n_items;
    bool last;
};

/* In the loop. @piece is borrowed until it returns, and NULL when the take has failed (@err: what
 * came is not what it should be, NJ_E_CORRUPT, or memory is gone). The take is over behind its last
 * piece or a failure: it must then be cancelled, here or later. */
typedef void (*nj_take_ready)(void *ctx, const struct nj_take_piece *piece,
                              const struct nj_error *err);

/* nj_taker_new - starts the thread; @journal_fd, the journal's folder, is borrowed */
int nj_taker_new(struct event_base *base, int journal_fd, struct nj_taker **ret_taker,
                 struct nj_error *err) NJ_MUST_USE;

/* nj_taker_forget - no take is under way, and segments were thinned: the old ones are not kept open
 * any more, soon */
void nj_taker_forget(struct nj_taker *taker);

/* nj_taker_free - every take must have been cancelled; accepts NULL */
void nj_taker_free(struct nj_taker *taker);
NJ_DEFINE_AUTO_PTR(struct nj_taker, nj_taker_free);

struct nj_take_setup {
    int fd; /* a sealed memfd of @bytes bytes, encoded objects; taken, on failure too */
    uint64_t bytes;
    uint32_t owner;                      /* for recent.h: of these objects and no others */
    const struct nj_object_index *index; /* of the session; outlives the take */
    nj_take_ready ready;
    void *ctx;
};

int nj_take_start(struct nj_taker *taker, const struct nj_take_setup *setup,
                  struct nj_take **ret_take, struct nj_error *err) NJ_MUST_USE;

/* nj_take_next - make the next piece; once behind each but the last, when that is not needed any
 * more and its objects are noted */
void nj_take_next(struct nj_take *take);

/* nj_take_note - an object of a piece was appended at @place: into the session's index */
int nj_take_note(struct nj_take *take, struct nj_object_index *index,
                 const struct nj_digest *digest, const struct nj_journal_place *place,
                 struct nj_error *err) NJ_MUST_USE;

/* nj_take_cancel - ends and frees it; waits for the piece that is being made. Accepts NULL. */
void nj_take_cancel(struct nj_take *take);

#endif
