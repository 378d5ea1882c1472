/*
 * recent.h - the objects that sessions put lately: what the next ones are stored as changes of
 *
 * A step puts objects that hardly differ from those before: the list of messages with one more, a
 * directory with another digest in it. Whoever puts them says so (nj_object.earlier), and what is
 * still here is the base of a delta (formats/object/object.h). Nothing depends on it: what was
 * dropped, or was never here because the engine is new, is read again or makes one object that is
 * stored whole.
 *
 * An owner is one attempt of a session in this process. What is noted of an owner is stored for it,
 * once, just as it was encoded: chains would get too long otherwise. Not for several threads.
 *
 * A chain of deltas is bounded. To keep it short, a change is first tried against the base of what
 * it follows, then against that itself; of a list, which only grows, the other way round.
 */
#ifndef NJ_RECENT_H
#define NJ_RECENT_H

#include "formats/object/object.h"

#define NJ_RECENT_MAX_BYTES (8u << 20) /* of all that is kept, for all owners */

struct nj_recent;

int nj_recent_new(size_t max_bytes, struct nj_recent **ret_recent,
                  struct nj_error *err) NJ_MUST_USE;
void nj_recent_free(struct nj_recent *recent);
NJ_DEFINE_AUTO_PTR(struct nj_recent, nj_recent_free);

/* nj_recent_has - is it here, as @owner put it? */
bool nj_recent_has(struct nj_recent *recent, uint32_t owner, const struct nj_digest *digest);

/* nj_recent_get - append it to @out, encoded whole: for a shelf that need not read it again.
 * Returns 1, or 0 when it is not here. */
int nj_recent_get(struct nj_recent *recent, uint32_t owner, const struct nj_digest *digest,
                  struct nj_buf *out, struct nj_error *err) NJ_MUST_USE;

/* nj_recent_note - @owner has stored @object as the @chain-th delta behind a whole one; @base: of
 * that delta, or NULL. The bytes are copied. Without memory, or room, nothing is kept. */
void nj_recent_note(struct nj_recent *recent, uint32_t owner, const struct nj_object *object,
                    unsigned chain, const struct nj_digest *base);

/* nj_recent_fetch - what @object follows, and the base of that, are noted as they lie on @shelf;
 * not where @object is longer than @max_bytes. Returns whether anything had to be read. */
bool nj_recent_fetch(struct nj_recent *recent, uint32_t owner, const struct nj_object_shelf *shelf,
                     const struct nj_object *object, size_t max_bytes);

/* nj_recent_encode - append @object of @owner encoded as it is to be stored, and note it */
int nj_recent_encode(struct nj_recent *recent, uint32_t owner, const struct nj_object *object,
                     struct nj_buf *out, struct nj_error *err) NJ_MUST_USE;

/* nj_recent_clear - nothing is here any more */
void nj_recent_clear(struct nj_recent *recent);

#endif
