/*
 * object.h - content under its digest: file contents, directories, their times, messages
 *
 * An object is bytes, named by their SHA-256 (so `sha256sum` of a small file is its object's name).
 * Its kind says how to read it. A workspace is two Merkle trees of the same shape: TREE objects
 * hold what is there (names, types, modes, sizes, digests) and STAMPS objects hold when and in
 * which order (nanosecond mtimes, listing order). Two runs that did the same at different hours
 * have equal trees and different stamps; a restore uses both.
 *
 * Objects travel as canonical msgpack maps {"b": bytes, "d": digest, "k": kind}: in OBJECT frames
 * of the journal, in bundles, and between engine and supervisor, one encoding for all three.
 * Source: formats/object/FORMAT.md.
 */
#ifndef NJ_OBJECT_H
#define NJ_OBJECT_H

#include "formats/base/arena.h"
#include "formats/base/pack.h"
#include "formats/base/squeeze.h"

#define NJ_OBJECT_MAX_BYTES (16u << 20) /* decoded bytes of one object */
#define NJ_OBJECT_PART_BYTES (1u << 20) /* a longer file is cut into PARTS */
#define NJ_OBJECT_NAME_MAX_BYTES 255
#define NJ_OBJECT_TARGET_MAX_BYTES 4095
#define NJ_TREE_ENTRIES_MAX 200000 /* of one directory */
#define NJ_TREE_XATTRS_MAX 64
#define NJ_TREE_XATTR_VALUE_MAX_BYTES 65536
#define NJ_PARTS_MAX 65536
#define NJ_LEAVES_ABOVE 1024 /* a directory of more entries is stored in leaves */
#define NJ_LEAVES_MAX 4096
#define NJ_DIR_MAX_BYTES (NJ_OBJECT_MAX_BYTES + (1u << 20)) /* one directory's leaves and list */
#define NJ_STAMPS_INO_MAX (UINT64_C(1) << 62)
#define NJ_LIST_FANOUT 32

/* Each kind once: enumerator, stored number, name. */
#define NJ_OBJECT_KINDS(X)                                                                         \
    X(BLOB, 1, "blob")       /* a file's bytes, or one part of them */                             \
    X(TREE, 2, "tree")       /* one directory's entries */                                         \
    X(STAMPS, 3, "stamps")   /* the same directory's times and listing order */                    \
    X(PARTS, 4, "parts")     /* digests of the blobs that make up one long file */                 \
    X(MESSAGE, 5, "message") /* one item of a conversation, JSON bytes */                          \
    X(LIST, 6, "list")       /* one node of the conversation tree */                               \
    X(CONFIG, 7, "config")   /* what a session core is told at birth, canonical msgpack */

enum nj_object_kind {
#define X(name, value, text) NJ_OBJECT_##name = value,
    NJ_OBJECT_KINDS(X)
#undef X
};

const char *nj_object_kind_text(enum nj_object_kind kind); /* "?" for an unknown number */

struct nj_object {
    enum nj_object_kind kind;
    struct nj_digest digest;
    struct nj_span bytes; /* borrowed from what was decoded */
    bool has_earlier;     /* whoever puts it says what it may be much like; a hint, never stored */
    struct nj_digest earlier;
};

/* Where objects come from. get appends the object's bytes to @out; NJ_E_CORRUPT when there is none.
 */
struct nj_object_source {
    int (*get)(void *ctx, const struct nj_digest *digest, struct nj_buf *out, struct nj_error *err);
    void *ctx;
    bool is_checked; /* it looks at digests itself, or whoever gets the bytes in the end does */
    /* optional: the bytes where they lie, borrowed from the source */
    int (*view)(void *ctx, const struct nj_digest *digest, struct nj_span *ret_bytes,
                struct nj_error *err);
};

/* Where new objects go. May be called twice with the same digest; the sink keeps one. */
struct nj_object_sink {
    int (*put)(void *ctx, const struct nj_object *object, struct nj_error *err);
    void *ctx;
};

/* nj_object_put - digest @bytes and put them; *ret_digest is set on success */
int nj_object_put(const struct nj_object_sink *sink, enum nj_object_kind kind, struct nj_span bytes,
                  struct nj_digest *ret_digest, struct nj_error *err) NJ_MUST_USE;

/* nj_object_get - append the object's bytes to @out and check them against @digest; what every
 * reader of trees, stamps, parts and lists goes through, so that a source need not be trusted.
 * @kind names it in errors. Fails with NJ_E_CORRUPT (missing, other bytes, more than
 * NJ_OBJECT_MAX_BYTES); @out is then as before. */
int nj_object_get(const struct nj_object_source *source, enum nj_object_kind kind,
                  const struct nj_digest *digest, struct nj_buf *out,
                  struct nj_error *err) NJ_MUST_USE;

/* nj_object_view - the same without copying where the source can: *ret_bytes lie in the source, or
 * in @scratch, which is cleared first */
int nj_object_view(const struct nj_object_source *source, enum nj_object_kind kind,
                   const struct nj_digest *digest, struct nj_buf *scratch,
                   struct nj_span *ret_bytes, struct nj_error *err) NJ_MUST_USE;

/* nj_object_put_later - as nj_object_put(), of an object that takes the place of @earlier; NULL: of
 * none */
int nj_object_put_later(const struct nj_object_sink *sink, enum nj_object_kind kind,
                        struct nj_span bytes, const struct nj_digest *earlier,
                        struct nj_digest *ret_digest, struct nj_error *err) NJ_MUST_USE;

/* nj_object_encode - append {"b","d","k"}, and "f" with the hint */
int nj_object_encode(const struct nj_object *object, struct nj_buf *out,
                     struct nj_error *err) NJ_MUST_USE;

/* nj_object_decode - the first encoded object in @bytes; *ret_len is how long it was, so a stream
 * is read by advancing. The digest is verified against the bytes only with @verify. NJ_E_VERSION: a
 * kind or a key that this build would have to understand. */
int nj_object_decode(struct nj_span bytes, bool verify, struct nj_object *ret_object,
                     size_t *ret_len, struct nj_error *err) NJ_MUST_USE;

/* ---- stored as what differs from an earlier object (delta.c) ---- */

#define NJ_OBJECT_CHAIN_MAX 8                               /* deltas behind one another */
#define NJ_OBJECT_DELTA_MAX_BYTES NJ_SQUEEZE_BASE_MAX_BYTES /* longer objects are stored whole */

/* An encoded object as it is stored, which may be a delta. */
struct nj_object_stored {
    enum nj_object_kind kind;
    struct nj_digest digest; /* of the whole bytes */
    bool is_delta;
    struct nj_digest base; /* of a delta: what it is against */
    struct nj_span bytes;  /* the object's, or the delta; borrowed from what was decoded */
};

/* nj_object_delta - append @object encoded as a delta against @base, whose digest is @digest.
 * Returns 1, or 0 and nothing appended where that does not pay: the delta is no third of the bytes.
 */
int nj_object_delta(const struct nj_object *object, const struct nj_digest *digest,
                    struct nj_span base, struct nj_buf *out, struct nj_error *err) NJ_MUST_USE;

/* nj_object_decode_stored - as nj_object_decode(), which refuses deltas, without verifying */
int nj_object_decode_stored(struct nj_span bytes, struct nj_object_stored *ret_stored,
                            size_t *ret_len, struct nj_error *err) NJ_MUST_USE;

/* Where stored objects come from: read appends the encoded object of that digest to @out. */
struct nj_object_shelf {
    int (*read)(void *ctx, const struct nj_digest *digest, struct nj_buf *out,
                struct nj_error *err);
    void *ctx;
    bool is_plain; /* what is loaded is for somebody who checks it */
};

/* nj_object_load - append the object's whole bytes, which are checked against @digest unless
 * @shelf is plain, to @out
 *
 * @ret_object  its bytes are borrowed from @out
 * @ret_chain   how many deltas it was made of; may be NULL
 *
 * Bases are read from the same shelf. NJ_E_CORRUPT: more than NJ_OBJECT_CHAIN_MAX of them. */
int nj_object_load(const struct nj_object_shelf *shelf, const struct nj_digest *digest,
                   struct nj_buf *out, struct nj_object *ret_object, unsigned *ret_chain,
                   struct nj_error *err) NJ_MUST_USE;

/* nj_object_shelf_get - the same for a source, whose get() is this behind its own context; errors
 * name the object */
int nj_object_shelf_get(const struct nj_object_shelf *shelf, const struct nj_digest *digest,
                        struct nj_buf *out, struct nj_error *err) NJ_MUST_USE;

/* ---- directories ---- */

enum nj_file_type {
    NJ_FILE_REGULAR = 1,
    NJ_FILE_DIRECTORY = 2,
    NJ_FILE_SYMLINK = 3,
    NJ_FILE_HARDLINK = 4, /* another name of a file met earlier in the walk; target: its path */
    NJ_FILE_FIFO = 5,
    NJ_FILE_SOCKET = 6,
};

struct nj_xattr {
    struct nj_span name; /* "user." and what follows; others are not captured */
    struct nj_span value;
};

struct nj_tree_entry {
    struct nj_span name; /* 1 to 255 bytes, no '/' or NUL, not "." or ".."; any other bytes */
    enum nj_file_type type;
    unsigned mode;           /* permission bits, at most 07777; 0 for SYMLINK and HARDLINK */
    uint64_t size;           /* REGULAR: bytes */
    struct nj_digest digest; /* REGULAR: SHA-256 of the whole content; DIRECTORY: its TREE */
    bool has_parts;          /* REGULAR above NJ_OBJECT_PART_BYTES: parts names a PARTS object */
    struct nj_digest parts;
    struct nj_span target; /* SYMLINK: its text; HARDLINK: path from the workspace root, no "/"
                            * first (a restorer checks that it names a file made before) */
    const struct nj_xattr *xattrs; /* REGULAR, DIRECTORY: ascending by name */
    size_t n_xattrs;
};

struct nj_tree {
    const struct nj_tree_entry *entries; /* ascending by name bytes */
    size_t n_entries;
};

/* The two rules about names, for whoever takes one from a sandbox or a manifest. A path is names
 * joined by single '/', neither first nor last, at most NJ_OBJECT_TARGET_MAX_BYTES long. */
bool nj_tree_name_valid(struct nj_span name);
bool nj_tree_path_valid(struct nj_span path);

/* nj_tree_encode - entries must be sorted and valid (asserted); fields that an entry's type does
 * not have are not looked at (mode of SYMLINK and HARDLINK, xattrs of all but REGULAR and
 * DIRECTORY). Sparse holes are not recorded. NJ_E_LIMIT: more than NJ_TREE_ENTRIES_MAX entries. */
int nj_tree_encode(const struct nj_tree *tree, struct nj_buf *out,
                   struct nj_error *err) NJ_MUST_USE;

/* nj_tree_decode - @ret_tree and its arrays live in @arena; spans are borrowed from @bytes */
int nj_tree_decode(struct nj_span bytes, struct nj_arena *arena, struct nj_tree *ret_tree,
                   struct nj_error *err) NJ_MUST_USE;

/* nj_tree_find - binary search by name; NULL when absent */
const struct nj_tree_entry *nj_tree_find(const struct nj_tree *tree, struct nj_span name);

struct nj_stamp {
    struct nj_span name;
    int64_t mtime_ns; /* since 1970, may be negative */
    bool has_stamps;  /* DIRECTORY: stamps names its STAMPS object */
    struct nj_digest stamps;
    /* of a reproducible session (levels D2 and D3) */
    int64_t ctime_ns;
    uint64_t ino; /* 0: not told, and no ctime */
};

struct nj_stamps {
    int64_t mtime_ns; /* of the directory itself */
    const struct nj_stamp
        *entries; /* in creation order, oldest first: create them so when restoring */
    size_t n_entries;
    /* of a reproducible session */
    bool has_ctime;
    int64_t ctime_ns;  /* of the directory itself */
    uint64_t next_ino; /* of the workspace's root: the next file gets this number; 0: not told */
};

/* Names are valid and unique, in any order; an entry without stamps in the tree, or the other way
 * round, is for the restorer to bear: it keeps what the tree says. */
int nj_stamps_encode(const struct nj_stamps *stamps, struct nj_buf *out,
                     struct nj_error *err) NJ_MUST_USE;
int nj_stamps_decode(struct nj_span bytes, struct nj_arena *arena, struct nj_stamps *ret_stamps,
                     struct nj_error *err) NJ_MUST_USE;

/* A workspace as a snapshot names it. */
struct nj_workspace_ref {
    struct nj_digest tree;
    struct nj_digest stamps;
};

/*
 * A directory as it is stored: one object a side, or, above NJ_LEAVES_ABOVE entries, leaves of some
 * hundred entries each, and the list of them (leaves.c). Whoever keeps or reads directories calls
 * these; the encoders and decoders above are of single objects.
 */
struct nj_leaf {
    struct nj_digest digest;
    uint64_t first; /* hash of its first name */
};

struct nj_dir_stored {
    struct nj_digest digest;
    const struct nj_leaf *leaves; /* in the arena it was put with */
    size_t n_leaves;
};

/* nj_tree_put, nj_stamps_put - put one side of a directory
 *
 * @earlier  what that side was stored as before, all of which the sink has; NULL: nothing. Leaves
 *           that are as they were are not put again, the others are hinted as its changes.
 *
 * Fails with NJ_E_LIMIT beyond NJ_TREE_ENTRIES_MAX entries or NJ_OBJECT_MAX_BYTES together.
 */
int nj_tree_put(const struct nj_object_sink *sink, const struct nj_tree *tree,
                const struct nj_dir_stored *earlier, struct nj_arena *arena,
                struct nj_dir_stored *ret_stored, struct nj_error *err) NJ_MUST_USE;
int nj_stamps_put(const struct nj_object_sink *sink, const struct nj_stamps *stamps,
                  const struct nj_dir_stored *earlier, struct nj_arena *arena,
                  struct nj_dir_stored *ret_stored, struct nj_error *err) NJ_MUST_USE;

/* nj_dir_put - both sides of a directory that was not there before */
int nj_dir_put(const struct nj_object_sink *sink, const struct nj_tree *tree,
               const struct nj_stamps *stamps, struct nj_workspace_ref *ret_ref,
               struct nj_error *err) NJ_MUST_USE;

/* nj_tree_load, nj_stamps_load - read one back, whole or in leaves; all of it lives in @arena.
 * @ret_bytes: how many it was encoded in; may be NULL. */
int nj_tree_load(const struct nj_object_source *source, const struct nj_digest *digest,
                 struct nj_arena *arena, struct nj_tree *ret_tree, size_t *ret_bytes,
                 struct nj_error *err) NJ_MUST_USE;
int nj_stamps_load(const struct nj_object_source *source, const struct nj_digest *digest,
                   struct nj_arena *arena, struct nj_stamps *ret_stamps,
                   struct nj_error *err) NJ_MUST_USE;

/* nj_tree_empty - puts the empty directory (mtime 0) and names it */
int nj_tree_empty(const struct nj_object_sink *sink, struct nj_workspace_ref *ret_ref,
                  struct nj_error *err) NJ_MUST_USE;

/* nj_tree_lookup - follow @path ("workspace/out/a", no leading '/') from the root tree to its
 * entry. Entry's memory is in @arena. Symlinks are not followed. Returns 0, or 1 when there is no
 * such path; NJ_E_INPUT when
 * @path breaks the rule of nj_tree_path_valid() (so the root itself cannot be asked for). */
int nj_tree_lookup(const struct nj_object_source *source, const struct nj_digest *root,
                   const char *path, struct nj_arena *arena, struct nj_tree_entry *ret_entry,
                   struct nj_error *err) NJ_MUST_USE;

/* A few objects can claim a tree of any size (a directory listed twice in each of its ancestors),
 * so every walk below stops with NJ_E_LIMIT at these: levels, entries met, and bytes of the
 * directories held open. */
#define NJ_TREE_DEPTH_MAX 1024
#define NJ_TREE_VISITS_MAX 2000000
#define NJ_TREE_HELD_MAX_BYTES (256u << 20)

/* nj_tree_walk - depth first, ascending names, a directory before what is in it, every entry below
 * @root. @path has no leading '/'. A callback's negative return stops the walk and is returned. */
typedef int (*nj_tree_visit)(void *ctx, const char *path, const struct nj_tree_entry *entry,
                             struct nj_error *err);
int nj_tree_walk(const struct nj_object_source *source, const struct nj_digest *root,
                 nj_tree_visit visit, void *ctx, struct nj_error *err) NJ_MUST_USE;

/* nj_tree_reach - every object that a workspace needs, parents before children: trees, stamps,
 * parts, blobs. Each digest is reported once, also where two kinds share their bytes. Used to
 * archive and to restore. */
typedef int (*nj_object_visit)(void *ctx, enum nj_object_kind kind, const struct nj_digest *digest,
                               struct nj_error *err);
int nj_tree_reach(const struct nj_object_source *source, const struct nj_workspace_ref *ref,
                  nj_object_visit visit, void *ctx, struct nj_error *err) NJ_MUST_USE;

/* The same over many workspaces of one session: what was met in one is not followed in the next, so
 * a step costs what it changed. @source is copied. After a failure of nj_reach_workspace() what
 * failed counts as met, so going on reports each damage once. */
struct nj_reach;
int nj_reach_new(const struct nj_object_source *source, nj_object_visit visit, void *ctx,
                 struct nj_reach **ret_reach, struct nj_error *err) NJ_MUST_USE;
void nj_reach_free(struct nj_reach *reach);
NJ_DEFINE_AUTO_PTR(struct nj_reach, nj_reach_free);
int nj_reach_workspace(struct nj_reach *reach, const struct nj_workspace_ref *ref,
                       struct nj_error *err) NJ_MUST_USE;
int nj_reach_tree(struct nj_reach *reach, const struct nj_digest *tree,
                  struct nj_error *err) NJ_MUST_USE; /* without stamps: collected outputs */

/* nj_tree_diff - compare two trees; the callback gets the path and both entries (one NULL when only
 * in the other), in the order of nj_tree_walk(), only for entries that differ. A directory on both
 * sides differs by its mode or xattrs; what is in it speaks for itself. Of one that is on one side
 * only, all that it holds is reported too. Equal digests are not descended. */
typedef int (*nj_tree_differ)(void *ctx, const char *path, const struct nj_tree_entry *a,
                              const struct nj_tree_entry *b, struct nj_error *err);
int nj_tree_diff(const struct nj_object_source *source_a, const struct nj_digest *a,
                 const struct nj_object_source *source_b, const struct nj_digest *b,
                 nj_tree_differ differ, void *ctx, struct nj_error *err) NJ_MUST_USE;

/* nj_tree_builder - make a workspace from (path, content) pairs: how a session's files become its
 * first workspace. Parents are made as needed (mode 0755, mtime 0); adding such a directory later
 * gives it its own mode and mtime. Adding a path twice fails with NJ_E_INPUT. The order of adding
 * is the creation order. */
struct nj_tree_builder;
int nj_tree_builder_new(struct nj_tree_builder **ret_builder, struct nj_error *err) NJ_MUST_USE;
void nj_tree_builder_free(struct nj_tree_builder *builder);
NJ_DEFINE_AUTO_PTR(struct nj_tree_builder, nj_tree_builder_free);
int nj_tree_builder_dir(struct nj_tree_builder *builder, const char *path, unsigned mode,
                        int64_t mtime_ns, struct nj_error *err) NJ_MUST_USE;
int nj_tree_builder_file(struct nj_tree_builder *builder, const char *path, unsigned mode,
                         int64_t mtime_ns, struct nj_span content,
                         const struct nj_object_sink *sink, struct nj_error *err) NJ_MUST_USE;
int nj_tree_builder_finish(struct nj_tree_builder *builder, const struct nj_object_sink *sink,
                           struct nj_workspace_ref *ret_ref, struct nj_error *err) NJ_MUST_USE;

/* ---- file contents ---- */

/*
 * Where a long file is cut: by content, so that an edit changes the parts around it and no others,
 * also where it moves everything behind it. The cuts follow from the file's bytes and its length
 * (longer files are cut more coarsely: a PARTS object names every part).
 *
 *     nj_cut_init(&cut, file_bytes);
 *     while (rest of the file) len = nj_cut_next(&cut, rest);
 */
struct nj_cut {
    size_t min_bytes;
    size_t normal_bytes; /* what parts are around */
    size_t max_bytes;    /* at most NJ_OBJECT_PART_BYTES */
    unsigned strict;     /* bits of the hash that must be 0 for a cut before normal_bytes... */
    unsigned loose;      /* ... and behind */
};
void nj_cut_init(struct nj_cut *cut, uint64_t file_bytes);

/* nj_cut_next - the length of the part that @rest begins with. @rest is not empty, and holds
 * max_bytes or more unless the file ends with it. */
size_t nj_cut_next(const struct nj_cut *cut, struct nj_span rest);

/* nj_cut_parts_max - of a file of that length there are not more */
size_t nj_cut_parts_max(const struct nj_cut *cut, uint64_t file_bytes);

/* nj_parts_put - put @content: one BLOB, or BLOBs and a PARTS object. Fills size, digest,
 * has_parts, parts of
 * @entry, on success only. */
int nj_parts_put(const struct nj_object_sink *sink, struct nj_span content,
                 struct nj_tree_entry *entry, struct nj_error *err) NJ_MUST_USE;
int nj_parts_encode(const struct nj_digest *parts, size_t n_parts, struct nj_buf *out,
                    struct nj_error *err) NJ_MUST_USE;
int nj_parts_decode(struct nj_span bytes, struct nj_arena *arena,
                    const struct nj_digest **ret_parts, size_t *ret_n_parts,
                    struct nj_error *err) NJ_MUST_USE;

/* nj_parts_each - hand the content of a REGULAR @entry to @write piece by piece, and check its size
 * and digest. A mismatch is known only at the end, after pieces were written: on failure the caller
 * drops what it wrote. */
int nj_parts_each(const struct nj_object_source *source, const struct nj_tree_entry *entry,
                  int (*write)(void *ctx, struct nj_span piece, struct nj_error *err), void *ctx,
                  struct nj_error *err) NJ_MUST_USE;

/* ---- the conversation: a persistent tree of digests, fan-out 32 ---- */

/* Appending writes the last leaf and its path to the root; everything else stays shared. */
#define NJ_LIST_LEVELS_MAX 4
#define NJ_LIST_ITEMS_MAX (1u << 20) /* 32^4; also what a hostile root can make a reader visit */
/* The right-most node of a level. */
struct nj_list_node {
    struct nj_digest digest; /* where it was put or read: its name, which the next one follows */
    unsigned n_items;
    bool is_named;
    struct nj_digest items[NJ_LIST_FANOUT]; /* last: see nj_list_bytes() */
};

struct nj_list {
    uint64_t count;
    unsigned levels;                               /* of nodes; 0 when empty */
    struct nj_list_node spine[NJ_LIST_LEVELS_MAX]; /* [0] is the last leaf */
};

/* nj_list_bytes - what a list of @count items takes of a struct nj_list: levels that it has not,
 * and what its root has no items for, are neither read nor written, so who holds many short lists
 * need not have memory for them */
size_t nj_list_bytes(uint64_t count);

/* nj_list_append - add a digest; puts the new LIST nodes; *ret_root names the list afterwards. On
 * failure @list is as before; NJ_E_LIMIT beyond NJ_LIST_ITEMS_MAX. @list has room for one item more
 * (nj_list_bytes()). */
int nj_list_append(struct nj_list *list, const struct nj_digest *item,
                   const struct nj_object_sink *sink, struct nj_digest *ret_root,
                   struct nj_error *err) NJ_MUST_USE;

/* nj_list_load - read a list back (the spine, so that appending can go on), and hand every item to
 * @visit in order (NULL: only the spine). An empty list has count 0 and no root (NULL). A
 * callback's negative return stops and is returned. @list is written on success only. The shape
 * follows from @count and is checked. */
int nj_list_load(struct nj_list *list, const struct nj_object_source *source,
                 const struct nj_digest *root, uint64_t count,
                 int (*visit)(void *ctx, uint64_t index, const struct nj_digest *item,
                              struct nj_error *err),
                 void *ctx, struct nj_error *err) NJ_MUST_USE;

#endif
