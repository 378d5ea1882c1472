/*
 * fsck_run.c - one pass over the journal for all sessions, then each by itself
 *
 * The complication is a damaged journal: the strict reader (which alone knows what a crash may
 * leave behind) stops at the first damage, so then everything is collected anew with the reader for
 * damaged journals, which also names every stretch that is damaged.
 */
#include "replay/fsck_run.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>

#include "batch/plan/slug.h"
#include "batch/run/state.h"

#include "formats/base/banned.h"

#define SESSIONS_MAX 4000000u
#define CURE_JOURNAL                                                                               \
    "`nightjar resume` refuses this journal; fsck --salvage FOLDER writes what is whole"

struct member {
    struct nj_scan scan;
    char *key; /* NULL: its first frame was not seen */
    bool cut;  /* a frame of the attempt that counts could not follow */
};

struct run {
    const struct nj_run_dir *dir;
    const struct nj_fsck_ear *ear;
    int save_dir_fd;
    struct nj_journal *journal;
    struct member *members; /* by session number; 0 is not used */
    size_t n_members;
    const char *session; /* whose faults are heard; NULL: the run's own */
    const char *cure;    /* of the session's faults */
    struct nj_fsck_run_result result;
};

static void members_done(struct run *run)
{
    for (size_t i = 0; i < run->n_members; i++) {
        nj_scan_done(&run->members[i].scan);
        free(run->members[i].key);
    }
    free(run->members);
    run->members = NULL;
    run->n_members = 0;
}

static void run_done(struct run *run)
{
    members_done(run);
    nj_journal_free(run->journal);
}
NJ_DEFINE_AUTO_VAL(struct run, run_done);

static bool host_failed(const struct nj_error *why)
{
    return why->code == NJ_E_NOMEM || (why->code == NJ_E_SYSTEM && why->sys_errno != ENOENT &&
                                       why->sys_errno != ELOOP && why->sys_errno != EACCES);
}

static int tell(struct run *run, const char *where, const char *what, const char *cure,
                struct nj_error *err)
{
    struct nj_fault fault = {.where = where, .what = what, .cure = cure};

    run->result.faults++;
    return run->ear->fault(run->ear->ctx, &fault, err);
}

/* hear - a fault of one session, with its name in front */
static int hear(void *ctx, const struct nj_fault *fault, struct nj_error *err)
{
    struct run *run = ctx;
    nj_auto_free char *where = NULL;

    if (asprintf(&where, "session %s, %s", run->session, fault->where) < 0) {
        where = NULL;
        return nj_fail_nomem(err);
    }
    return tell(run, where, fault->what, fault->cure ? fault->cure : run->cure, err);
}

/* ---- the journal ---- */

static int member_of(struct run *run, uint32_t session, struct member **ret_member,
                     struct nj_error *err)
{
    if (session > SESSIONS_MAX)
        return nj_fail(err, NJ_E_LIMIT, "session %u: more than %u are not looked at", session,
                       SESSIONS_MAX);
    if (session >= run->n_members) {
        size_t count =
            (size_t)session + 1 > 2 * run->n_members ? (size_t)session + 1 : 2 * run->n_members;
        struct member *grown = reallocarray(run->members, count, sizeof(*grown));

        if (!grown)
            return nj_fail_nomem(err);
        memset(grown + run->n_members, 0, (count - run->n_members) * sizeof(*grown));
        for (size_t i = run->n_members; i < count; i++)
            grown[i].scan.session = (uint32_t)i;
        run->members = grown;
        run->n_members = count;
    }
    *ret_member = &run->members[session];
    return 0;
}

static int keep_key(struct member *member, const struct nj_frame *frame, struct nj_error *err)
{
    struct nj_error ignored = {0}; /* scanning the frame tells it */
    struct nj_event event;

    if (frame->kind != NJ_FRAME_EVENT || frame->sequence != 1 ||
        nj_event_decode(frame->payload, &event, &ignored) < 0 || event.kind != NJ_EVENT_OPENED)
        return 0;
    member->cut = false; /* an attempt begins */
    if (member->key)
        return 0;
    member->key = nj_span_dup(event.opened.key);
    return member->key ? 0 : nj_fail_nomem(err);
}

static int take_frame(struct run *run, const struct nj_frame *frame, struct nj_error *err)
{
    struct member *member = NULL;
    struct nj_error why = {0};
    char where[96];
    int r;

    if (frame->session == NJ_JOURNAL_SESSION_RUN)
        return 0; /* its payload is the engine's note to itself */
    r = member_of(run, frame->session, &member, err);
    if (r == 0)
        r = keep_key(member, frame, err);
    if (r < 0)
        return r;
    member->scan.thinned = nj_journal_is_thinned(run->journal);
    if (nj_scan_frame(&member->scan, frame, &why) == 0)
        return 0;
    if (host_failed(&why)) {
        *err = why;
        return -(int)err->code;
    }
    if (member->cut)
        return 0; /* one gap makes every later frame stand in the wrong place */
    member->cut = true;
    (void)snprintf(where, sizeof(where), "journal segment %06u, offset %" PRIu64 ", session %u",
                   (unsigned)frame->place.segment, frame->place.offset, (unsigned)frame->session);
    return tell(run, where, why.text, CURE_JOURNAL, err);
}

/* collect - every frame that run->journal gives; returns its last outcome */
static int collect(struct run *run, struct nj_error *err)
{
    struct nj_frame frame;
    int r;

    while ((r = nj_journal_next(run->journal, &frame, err)) == NJ_JOURNAL_FRAME ||
           r == NJ_JOURNAL_DAMAGE) {
        r = r == NJ_JOURNAL_DAMAGE
                ? tell(run, "journal", nj_journal_damage(run->journal), CURE_JOURNAL, err)
                : take_frame(run, &frame, err);
        if (r < 0)
            return r;
    }
    return r;
}

static int read_journal(struct run *run, struct nj_error *err)
{
    struct nj_error damage;
    uint64_t faults = run->result.faults;
    int r;

    r = nj_journal_open(run->dir->journal_fd, &run->journal, err);
    if (r == 0) {
        nj_journal_hold(run->journal); /* the engine may be at work */
        r = collect(run, err);
    }
    if (r >= 0) {
        run->result.torn_bytes = r == NJ_JOURNAL_TORN;
        return 0;
    }
    if (err->code != NJ_E_CORRUPT)
        return r;
    damage = *err;
    *err = (struct nj_error){0};
    members_done(run);
    nj_journal_free(run->journal);
    run->journal = NULL;
    r = nj_journal_open_damaged(run->dir->journal_fd, &run->journal, err);
    if (r == 0)
        r = collect(run, err);
    if (r == -NJ_E_CORRUPT) {
        *err = (struct nj_error){0};
        r = 0;
    }
    if (r < 0)
        return r;
    /* Where every frame is whole it is the commits that are not. */
    return run->result.faults == faults ? tell(run, "journal", damage.text, CURE_JOURNAL, err) : 0;
}

/* ---- sessions ---- */

/* save_name - like a bundle of the run; several keys can have one such name, then the session's
 * number tells them apart */
static int save_name(const struct run *run, const struct nj_bundle_info *info, uint32_t session,
                     char **ret_name, struct nj_error *err)
{
    char slug[NJ_SLUG_MAX_BYTES + 1], hex[NJ_DIGEST_HEX_CHARS + 1];
    nj_auto_free char *name = NULL;
    struct stat st;

    nj_slug(info->key, false, slug);
    nj_digest_hex(&info->identity, hex);
    if (asprintf(&name, "%s-%.8s.njb", slug, hex) < 0) {
        name = NULL;
        return nj_fail_nomem(err);
    }
    if (fstatat(run->save_dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0) {
        free(name);
        if (asprintf(&name, "%s-%.8s.session-%u.njb", slug, hex, (unsigned)session) < 0) {
            name = NULL;
            return nj_fail_nomem(err);
        }
    }
    *ret_name = nj_steal_ptr(&name);
    return 0;
}

static int save(struct run *run, struct nj_record *record, uint32_t session,
                const struct nj_fsck_result *result, struct nj_error *err)
{
    nj_auto_free char *name = NULL;
    nj_auto_close int fd = -1;
    int r;

    r = save_name(run, nj_record_info(record), session, &name, err);
    if (r < 0)
        return r;
    fd = openat(run->save_dir_fd, ".tmp-salvage",
                O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return nj_fail_errno(err, errno, "create %s", name);
    r = nj_fsck_save(record, result, fd, err);
    if (r == 0)
        r = nj_fsio_rename(run->save_dir_fd, ".tmp-salvage", run->save_dir_fd, name, err);
    if (r < 0) {
        (void)unlinkat(run->save_dir_fd, ".tmp-salvage", 0); /* whatever is left of it */
        return nj_wrap(err, "save %s", name);
    }
    run->result.saved++;
    return 0;
}

/* from_journal - the session as its frames tell it; saved when it is asked for */
static int from_journal(struct run *run, struct member *member, bool *ret_whole,
                        struct nj_error *err)
{
    NJ_AUTO(nj_record_free) struct nj_record *record = NULL;
    struct nj_fsck_ear ear = {.fault = hear, .ctx = run};
    struct nj_fsck_result result;
    uint32_t session = member->scan.session;
    struct nj_error why = {0};
    int r;

    run->cure = "fsck --salvage FOLDER writes the frames before it as a bundle";
    if (nj_record_open_scan(run->dir, run->journal, &member->scan, &record, &why) < 0) {
        if (host_failed(&why)) {
            *err = why;
            return -(int)err->code;
        }
        return hear(run, &(struct nj_fault){.where = "its first frame", .what = why.text}, err);
    }
    r = nj_fsck_record(record, &ear, &result, err);
    if (r < 0)
        return r;
    *ret_whole = result.faults == 0 && !member->cut;
    if (run->save_dir_fd < 0 || result.frames_whole == 0)
        return 0;
    return save(run, record, session, &result, err);
}

/* from_bundle - an archived session. Returns 0, or 1 when its bundle is not there or not whole. */
static int from_bundle(struct run *run, struct member *member, struct nj_error *err)
{
    NJ_AUTO(nj_record_free) struct nj_record *record = NULL;
    struct nj_fsck_ear ear = {.fault = hear, .ctx = run};
    const struct nj_scan *scan = &member->scan;
    struct nj_fsck_result result;
    struct nj_error why = {0};
    nj_auto_close int fd = -1;
    int r;

    run->cure = "`nightjar bundle RUN:KEY` writes it anew while the journal has the session";
    fd = openat(run->dir->bundles_fd, scan->bundle,
                O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        (void)nj_fail_errno(&why, errno, "bundles/%s", scan->bundle);
    if (fd < 0 || nj_record_open_bundle(fd, scan->bundle, 0, &record, &why) < 0) {
        if (host_failed(&why)) {
            *err = why;
            return -(int)err->code;
        }
        r = hear(run, &(struct nj_fault){.where = "its bundle", .what = why.text}, err);
        return r < 0 ? r : 1;
    }
    r = nj_fsck_record(record, &ear, &result, err);
    if (r < 0)
        return r;
    if (result.faults == 0 && scan->n_places > 0 && !member->cut &&
        !nj_digest_equal(&scan->digests.record, &nj_record_info(record)->digests.record)) {
        r = hear(run,
                 &(struct nj_fault){.where = "its bundle",
                                    .what = "it is whole, but not what the journal recorded"},
                 err);
        return r < 0 ? r : 1;
    }
    return result.faults > 0;
}

static int check_member(struct run *run, struct member *member, struct nj_error *err)
{
    bool whole = false;
    char number[24];
    int r = 1;

    (void)snprintf(number, sizeof(number), "%u", (unsigned)member->scan.session);
    run->session = member->key ? member->key : member->scan.key ? member->scan.key : number;
    run->result.sessions++;
    if (member->scan.cut) { /* a thinned journal lacks frames, and it has not ended */
        r = hear(run,
                 &(struct nj_fault){.where = "its frames", .what = "some are missing in between"},
                 err);
        if (r < 0)
            return r;
        member->cut = true;
        r = 1;
    }
    if (member->scan.archived && member->scan.bundle)
        r = from_bundle(run, member, err);
    if (r == 0)
        run->result.sessions_whole++;
    if (r != 1)
        return r;
    if (member->scan.n_places == 0) {
        if (member->scan.archived)
            return 0; /* freed; what there is to say about its bundle was said */
        return hear(run,
                    &(struct nj_fault){.where = "its first frame",
                                       .what = "it is lost",
                                       .cure = "none: nothing of this session is left"},
                    err);
    }
    r = from_journal(run, member, &whole, err);
    if (r == 0 && whole && !member->scan.archived)
        run->result.sessions_whole++;
    return r;
}

/* ---- the rest of the folder ---- */

static int check_input(struct run *run, int fd, const char *name, struct nj_error *err)
{
    const char *cure = "copy it from a bundle that embeds it, or run the job anew";
    NJ_AUTO(nj_buf_done) struct nj_buf bytes = {0};
    struct nj_digest expected, found;
    struct nj_error why = {0};
    char where[96];

    if (!nj_digest_parse(nj_span_text(name), &expected))
        return 0; /* not an object: a leftover, swept at the next start */
    (void)snprintf(where, sizeof(where), "inputs/%.64s", name);
    nj_buf_init(&bytes, NJ_OBJECT_MAX_BYTES);
    if (nj_fsio_read_file(fd, name, &bytes, &why) < 0)
        return tell(run, where, why.text, cure, err);
    nj_digest_bytes(bytes.data, bytes.len, &found);
    if (nj_digest_equal(&expected, &found))
        return 0;
    return tell(run, where, "its bytes are not those of its name", cure, err);
}

static int check_inputs(struct run *run, struct nj_error *err)
{
    int fd = openat(run->dir->inputs_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *folder = fd >= 0 ? fdopendir(fd) : NULL;
    struct dirent *entry;
    int r = 0;

    if (!folder) {
        int errnum = errno;

        if (fd >= 0)
            (void)close(fd);
        return nj_fail_errno(err, errnum, "read the run's inputs");
    }
    while (r == 0 && (entry = readdir(folder)))
        r = check_input(run, dirfd(folder), entry->d_name, err);
    (void)closedir(folder);
    return r;
}

static int check_files(struct run *run, struct nj_error *err)
{
    NJ_AUTO(nj_buf_done) struct nj_buf manifest = {0};
    struct nj_run_state state = {0};
    struct nj_error why = {0};
    int r = 0;

    if (nj_run_state_read(run->dir->fd, &state, &why) < 0)
        r = tell(run, "run.json", why.text, "`nightjar resume` writes it anew", err);
    nj_run_state_done(&state);
    nj_buf_init(&manifest, NJ_BUNDLE_MANIFEST_MAX_BYTES);
    if (r == 0 &&
        (nj_fsio_read_file(run->dir->fd, "job.yaml", &manifest, &why) < 0 || manifest.len == 0))
        r = tell(run, "job.yaml", manifest.len == 0 && why.code == 0 ? "it is empty" : why.text,
                 "every bundle of the run holds a copy", err);
    return r < 0 ? r : check_inputs(run, err);
}

int nj_fsck_run(const struct nj_run_dir *dir, int save_dir_fd, const struct nj_fsck_ear *ear,
                struct nj_fsck_run_result *ret_result, struct nj_error *err)
{
    NJ_AUTO(run_done) struct run run = {.dir = dir, .ear = ear, .save_dir_fd = save_dir_fd};
    int r;

    r = check_files(&run, err);
    if (r == 0)
        r = read_journal(&run, err);
    for (size_t i = 1; r == 0 && i < run.n_members; i++)
        if (run.members[i].key || run.members[i].scan.n_places > 0 || run.members[i].cut ||
            run.members[i].scan.bundle)
            r = check_member(&run, &run.members[i], err);
    if (r == 0 && save_dir_fd >= 0)
        r = nj_fsio_sync_dir(save_dir_fd, err);
    if (r < 0)
        return nj_wrap(err, "run %s", dir->path);
    *ret_result = run.result;
    return 0;
}
