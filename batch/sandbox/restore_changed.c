/*
 * restore_changed.c - make a tree of the one that is there, by changing what differs
 *
 * What is remembered is what is there: a restore comes when nothing ran since the last capture. A
 * file that has to change keeps its inode. The complication is the order of a listing: a tmpfs adds
 * at its end only, so of each directory the longest part from the oldest entry on that is in order
 * stays where it is, and all that comes behind is taken out and put back, one after the other.
 *
 * The first walk changes nothing: it finds out whether the second can do without anything that was
 * not sent along. What is rare is not tried: an inode with several names that would have to change
 * or to go, attributes that differ. In the end a capture proves the tree, as it does after a whole
 * restore.
 */
#include <errno.h>
#include <fcntl.h>

#include "batch/sandbox/restore_held.h"
#include "batch/sandbox/restore_inodes.h"
#include "batch/sandbox/restore_make.h"
#include "batch/sandbox/walk.h"
#include "formats/base/fsio.h"

#include "formats/base/banned.h"

/* What has it meanwhile is put back at the end of the listing. */
#define ASIDE_NAME ".nj-aside"

struct changing {
    struct making make;
    const struct nj_objects *objects;
    struct nj_reach *reach; /* over what is to be made anew: a hostile tree has the same again */
    bool renumbered;        /* some inode cannot have the number that is told of it */
};

static void changing_done(struct changing *c)
{
    restore_making_done(&c->make);
    nj_reach_free(c->reach);
}
NJ_DEFINE_AUTO_VAL(struct changing, changing_done);

/* ---- what differs ---- */

static struct table_entry *find_held(const struct table_dir *held, struct nj_span name)
{
    size_t low = 0, high = held->n_entries;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        struct nj_span at = held->entries[middle].tree.name;
        int order = memcmp(at.data, name.data, at.len < name.len ? at.len : name.len);

        if (order == 0)
            order = (at.len > name.len) - (at.len < name.len);
        if (order == 0)
            return &held->entries[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

/* may_stay - can @held become @entry without being made anew? */
static bool may_stay(const struct table_entry *held, const struct nj_tree_entry *entry)
{
    return held->tree.type == entry->type && nj_span_equal(held->tree.target, entry->target) &&
           walk_same_xattrs(&held->tree, entry);
}

static struct table_entry *stays(const struct table_dir *held, const struct nj_tree_entry *entry)
{
    struct table_entry *found = find_held(held, entry->name);

    return found && may_stay(found, entry) ? found : NULL;
}

static bool same_content(const struct table_entry *held, const struct nj_tree_entry *entry)
{
    return entry->type != NJ_FILE_REGULAR ||
           (held->tree.size == entry->size && nj_digest_equal(&held->tree.digest, &entry->digest));
}

static bool same_dates(const struct making *m, const struct table_entry *held,
                       const struct nj_stamp *stamp)
{
    struct restore_dates dates = restore_dates_of(stamp);

    return held->mtime_ns == dates.mtime_ns &&
           (!m->dates_all || held->shown_ctime_ns == dates.ctime_ns);
}

static bool same_dir(const struct table_entry *held, const struct nj_tree_entry *entry,
                     const struct nj_stamp *stamp)
{
    return nj_digest_equal(&held->dir->tree.digest, &entry->digest) && stamp->has_stamps &&
           nj_digest_equal(&held->dir->stamps.digest, &stamp->stamps);
}

/* in_order - how many of the oldest entries are there already, in this order */
static size_t in_order(const struct table_dir *held, const struct restore_opened *opened,
                       struct nj_error *err, bool *ret_failed)
{
    nj_auto_free uint32_t *place = malloc((held->n_entries + 1) * sizeof(*place));
    uint32_t next = 0;
    size_t i;

    *ret_failed = !place;
    if (!place) {
        (void)nj_fail_nomem(err);
        return 0;
    }
    for (size_t k = 0; k < held->n_entries; k++)
        place[held->order[k]] = (uint32_t)k;
    for (i = 0; i < opened->stamps.n_entries; i++) {
        const struct nj_tree_entry *entry =
            nj_tree_find(&opened->tree, opened->stamps.entries[i].name);
        const struct table_entry *found = entry ? stays(held, entry) : NULL;

        if (!found || place[found - held->entries] < next)
            break;
        next = place[found - held->entries] + 1;
    }
    return i;
}

/* ---- can it be done? ---- */

/* has_content - of a file to be written. One object can be the parts of as many files as a tree
 * has, so they count here, too, and where they claim too much a whole restore says so. */
static bool has_content(struct changing *c, const struct nj_tree_entry *entry, struct nj_error *err)
{
    NJ_AUTO(nj_arena_done) struct nj_arena arena = {0};
    NJ_AUTO(nj_buf_done) struct nj_buf bytes = {0};
    const struct nj_digest *parts;
    size_t n;

    if (restore_count(&c->make, entry->size, err) < 0)
        return false;
    if (!entry->has_parts)
        return nj_objects_has(c->objects, &entry->digest);
    nj_buf_init(&bytes, NJ_OBJECT_MAX_BYTES);
    if (nj_object_get(c->make.source, NJ_OBJECT_PARTS, &entry->parts, &bytes, err) < 0 ||
        nj_parts_decode(nj_buf_span(&bytes), &arena, &parts, &n, err) < 0)
        return false;
    for (size_t i = 0; i < n; i++) {
        if (!nj_objects_has(c->objects, &parts[i]))
            return false;
    }
    return true;
}

/* can_make - an entry of which nothing can stay */
static bool can_make(struct changing *c, const struct nj_tree_entry *entry,
                     const struct nj_stamp *stamp, struct nj_error *err)
{
    struct nj_workspace_ref ref = {entry->digest, stamp->stamps};

    switch (entry->type) {
    case NJ_FILE_REGULAR:
        return has_content(c, entry, err);
    case NJ_FILE_DIRECTORY:
        return stamp->has_stamps && nj_reach_workspace(c->reach, &ref, err) >= 0;
    case NJ_FILE_HARDLINK:
        return false;
    case NJ_FILE_SYMLINK:
    case NJ_FILE_FIFO:
    case NJ_FILE_SOCKET:
        break;
    }
    return true;
}

/* has_several - is it, or anything in it, an inode of several names? */
static bool has_several(const struct table_entry *held)
{
    return held->dir ? held->dir->several : held->several;
}

static bool can_change_dir(struct changing *c, const struct table_dir *held,
                           const struct nj_digest *tree, const struct nj_digest *stamps,
                           struct nj_error *err);

/* can_keep - an entry that stays; @moves: to another place in the listing */
static bool can_keep(struct changing *c, const struct table_entry *held,
                     const struct nj_tree_entry *entry, const struct nj_stamp *stamp, bool moves,
                     struct nj_error *err)
{
    c->renumbered |= stamp->ino > 0 && stamp->ino != held->ino;
    if (entry->type == NJ_FILE_DIRECTORY)
        return stamp->has_stamps &&
               (same_dir(held, entry, stamp) ||
                can_change_dir(c, held->dir, &entry->digest, &stamp->stamps, err));
    if (held->several &&
        (moves || held->tree.mode != entry->mode || !same_dates(&c->make, held, stamp)))
        return false;
    if (same_content(held, entry))
        return true;
    return !held->several && has_content(c, entry, err);
}

static bool can_change_dir(struct changing *c, const struct table_dir *held,
                           const struct nj_digest *tree, const struct nj_digest *stamps,
                           struct nj_error *err)
{
    NJ_AUTO(restore_opened_done) struct restore_opened opened = {0};
    size_t settled;
    bool failed;

    if (restore_open_dir(&c->make, tree, stamps, &opened, err) < 0 ||
        held->identified != opened.stamps.has_ctime || find_held(held, nj_span_text(ASIDE_NAME)) ||
        nj_tree_find(&opened.tree, nj_span_text(ASIDE_NAME)))
        return false;
    settled = in_order(held, &opened, err, &failed);
    if (failed)
        return false;
    for (size_t i = 0; i < held->n_entries; i++) {
        const struct nj_tree_entry *entry = nj_tree_find(&opened.tree, held->entries[i].tree.name);

        if (!(entry && may_stay(&held->entries[i], entry)) && has_several(&held->entries[i]))
            return false;
    }
    for (size_t i = 0; i < opened.stamps.n_entries; i++) {
        const struct nj_stamp *stamp = &opened.stamps.entries[i];
        const struct nj_tree_entry *entry = nj_tree_find(&opened.tree, stamp->name);
        const struct table_entry *found = entry ? stays(held, entry) : NULL;

        if (!entry || !(found ? can_keep(c, found, entry, stamp, i >= settled, err)
                              : can_make(c, entry, stamp, err)))
            return false;
        c->renumbered |= !found && stamp->ino > 0;
    }
    return true;
}

/* ---- doing it ---- */

static int change_dir(struct changing *c, int dir_fd, const struct table_dir *held,
                      const struct nj_digest *tree, const struct nj_digest *stamps, unsigned depth,
                      struct nj_error *err);

/* to_end - of the directory's listing */
static int to_end(int dir_fd, const char *name, struct nj_error *err)
{
    if (renameat(dir_fd, name, dir_fd, ASIDE_NAME) < 0 ||
        renameat(dir_fd, ASIDE_NAME, dir_fd, name) < 0)
        return nj_fail_errno(err, errno, "move to the end of a listing");
    return 0;
}

static int rewrite(struct changing *c, int dir_fd, const char *name,
                   const struct nj_tree_entry *entry, struct nj_error *err)
{
    nj_auto_close int fd = table_open_at(dir_fd, name, O_WRONLY | O_TRUNC);

    if (fd < 0)
        return nj_fail_errno(err, errno, "open");
    return restore_write_content(&c->make, fd, entry, err);
}

static int change_subdir(struct changing *c, int dir_fd, const char *name,
                         const struct table_entry *held, const struct nj_tree_entry *entry,
                         const struct nj_stamp *stamp, unsigned depth, struct nj_error *err)
{
    bool same = same_dir(held, entry, stamp);
    nj_auto_close int fd = -1;
    int r = 0;

    if (same && held->tree.mode == entry->mode)
        return 0;
    fd = table_open_at(dir_fd, name, O_RDONLY | O_DIRECTORY);
    if (fd < 0)
        return nj_fail_errno(err, errno, "open a directory");
    if (!same)
        r = change_dir(c, fd, held->dir, &entry->digest, &stamp->stamps, depth + 1, err);
    if (r < 0 || held->tree.mode == entry->mode)
        return r;
    return fchmod(fd, (mode_t)entry->mode) < 0 ? nj_fail_errno(err, errno, "set a mode") : 0;
}

/* change - an entry that stays */
static int change(struct changing *c, int dir_fd, const char *name, struct table_entry *held,
                  const struct nj_tree_entry *entry, const struct nj_stamp *stamp, unsigned depth,
                  struct nj_error *err)
{
    bool same = same_content(held, entry);
    int r = 0;

    if (entry->type == NJ_FILE_DIRECTORY)
        return change_subdir(c, dir_fd, name, held, entry, stamp, depth, err);
    if (!same)
        r = rewrite(c, dir_fd, name, entry, err);
    if (r >= 0 && held->tree.mode != entry->mode && fchmodat(dir_fd, name, entry->mode, 0) < 0)
        r = nj_fail_errno(err, errno, "set a mode");
    if (r >= 0 && !(same && same_dates(&c->make, held, stamp)))
        r = restore_set_time(&c->make, dir_fd, name, restore_dates_of(stamp), err);
    held->trusted = same; /* whatever its ctime is: the capture need not read it */
    return r;
}

static int remove_others(struct changing *c, int dir_fd, const struct table_dir *held,
                         const struct nj_tree *tree, struct nj_error *err)
{
    for (size_t i = 0; i < held->n_entries; i++) {
        const char *name = (const char *)held->entries[i].tree.name.data; /* terminated */
        const struct nj_tree_entry *entry = nj_tree_find(tree, held->entries[i].tree.name);
        int r;

        if (entry && may_stay(&held->entries[i], entry))
            continue;
        r = nj_fsio_remove_tree(dir_fd, name, err);
        if (r < 0)
            return r;
        restore_forget_own(&c->make);
    }
    return 0;
}

static int change_dir(struct changing *c, int dir_fd, const struct table_dir *held,
                      const struct nj_digest *tree, const struct nj_digest *stamps, unsigned depth,
                      struct nj_error *err)
{
    NJ_AUTO(restore_opened_done) struct restore_opened opened = {0};
    size_t path_len = c->make.path.len, settled = 0;
    bool failed = false;
    int r;

    r = restore_open_dir(&c->make, tree, stamps, &opened, err);
    if (r >= 0)
        settled = in_order(held, &opened, err, &failed);
    if (r >= 0 && !failed)
        r = remove_others(c, dir_fd, held, &opened.tree, err);
    if (r < 0 || failed)
        return -(int)err->code;
    for (size_t i = 0; i < opened.stamps.n_entries; i++) {
        const struct nj_stamp *stamp = &opened.stamps.entries[i];
        const struct nj_tree_entry *entry = nj_tree_find(&opened.tree, stamp->name);
        struct table_entry *found = stays(held, entry);
        char name[NJ_OBJECT_NAME_MAX_BYTES + 1];

        memcpy(name, stamp->name.data, stamp->name.len); /* bounded and checked by the decoder */
        name[stamp->name.len] = '\0';
        r = restore_path_push(&c->make, stamp->name, err);
        if (r >= 0 && found && i >= settled)
            r = to_end(dir_fd, name, err);
        if (r >= 0)
            r = found ? change(c, dir_fd, name, found, entry, stamp, depth, err)
                      : restore_make_entry(&c->make, dir_fd, entry, stamp, depth, err);
        if (r < 0)
            return r;
        restore_path_cut(&c->make, path_len);
        restore_forget_own(&c->make);
    }
    return restore_set_time(&c->make, dir_fd, NULL, restore_dates_of_dir(&opened.stamps), err);
}

/* ---- around ---- */

/* next_ino - what the tree's stamps tell, 0: nothing */
static int next_ino(const struct changing *c, const struct nj_workspace_ref *ref, uint64_t *ret_ino,
                    struct nj_error *err)
{
    NJ_AUTO(nj_arena_done) struct nj_arena arena = {0};
    struct nj_stamps stamps;
    int r = nj_stamps_load(c->make.source, &ref->stamps, &arena, &stamps, err);

    *ret_ino = r < 0 ? 0 : stamps.next_ino;
    return r;
}

static int number(struct nj_workspace *workspace, const struct changing *c,
                  const struct nj_workspace_ref *ref, struct nj_error *err)
{
    uint64_t next;
    int r;

    if (!workspace->times || !workspace->table.root->identified)
        return 0;
    r = next_ino(c, ref, &next, err);
    if (r < 0)
        return r;
    r = next == 0 ? 2 : restore_inodes_skip(workspace->root_fd, next, err);
    workspace->renumbered = c->renumbered || r == 2;
    workspace->next_ino = r == 0 ? next : 0;
    return r < 0 ? r : 0;
}

/* prove - look at what was changed, or at all where that cannot be told */
static int prove(struct nj_workspace *workspace, const struct nj_workspace_ref *ref,
                 struct nj_error *err)
{
    unsigned flags = table_look(workspace) | table_plain(workspace);
    int r = restore_prove(workspace, &workspace->table, flags, ref, err);

    if (r == 1)
        r = restore_prove(workspace, &workspace->table, flags & ~(unsigned)TABLE_CHANGES, ref, err);
    return r;
}

int restore_changed(struct nj_workspace *workspace, const struct nj_workspace_ref *ref,
                    const struct nj_objects *objects, struct nj_error *err)
{
    struct nj_object_source source = {
        .get = nj_objects_get, .ctx = (void *)(uintptr_t)objects, .view = nj_objects_view};
    NJ_AUTO(changing_done)
    struct changing c = {.make = {.root_fd = workspace->root_fd,
                                  .dates_all = workspace->times,
                                  .is_heard = true,
                                  .source = &source,
                                  .changes = workspace->changes},
                         .objects = objects};
    struct table_dir *root = workspace->table.root;
    int r;

    nj_changes_drain(workspace->changes);
    if (nj_changes_any(workspace->changes)) /* it is not known what is there */
        return nj_fail(err, NJ_E_INPUT, "something changed since the last capture");
    if (restore_reach_new(objects, &c.reach, err) < 0)
        return -(int)err->code;
    restore_bound(&c.make, workspace->max_size_bytes);
    if (!can_change_dir(&c, root, &ref->tree, &ref->stamps, err))
        return 1;
    nj_buf_init(&c.make.path, RESTORE_PATH_MAX_BYTES);
    restore_bound(&c.make, workspace->max_size_bytes);
    r = change_dir(&c, workspace->root_fd, root, &ref->tree, &ref->stamps, 0, err);
    if (r >= 0)
        r = number(workspace, &c, ref, err);
    nj_changes_drain(workspace->changes);
    if (r >= 0)
        r = prove(workspace, ref, err);
    if (r >= 0)
        nj_changes_done_with(workspace->changes);
    return r;
}
