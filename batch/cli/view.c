/*
 * view.c - a run opened to be looked at
 */
#include "batch/cli/view.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "batch/engine/confine.h"
#include "batch/engine/drop.h"
#include "batch/report/text.h"
#include "formats/manifest/manifest.h"

#include "formats/base/banned.h"

void nj_view_done(struct nj_view *view)
{
    nj_ledger_done(&view->ledger);
    nj_journal_free(view->journal);
    nj_run_state_done(&view->state);
    nj_run_dir_done(&view->dir);
}

int nj_view_refresh(struct nj_view *view, struct nj_error *err)
{
    struct nj_run_state state;

    view->working = nj_holder_is_locked(view->dir.fd);
    nj_holder_read(view->dir.fd, &view->holder);
    if (nj_run_state_read(view->dir.fd, &state, err) < 0)
        return nj_wrap(err, "run %s", view->dir.path);
    nj_run_state_done(&view->state);
    view->state = state;
    view->ledger.job = view->state.job;
    view->ledger.run_path = view->dir.path;
    view->ledger.state = view->state.state;
    view->ledger.stop_reason = view->state.stop_reason;
    view->ledger.deadline_s = view->state.deadline_s;
    view->ledger.total = view->state.sessions.total;
    return 0;
}

/* What an hour of a box is reckoned at; a job that cannot be read leaves it without a price. */
static uint64_t runtime_price(const struct nj_view *view)
{
    NJ_AUTO(nj_buf_done) struct nj_buf bytes = {0};
    NJ_AUTO(nj_manifest_faults_done) struct nj_manifest_faults faults = {0};
    NJ_AUTO(nj_manifest_free) struct nj_manifest *manifest = NULL;
    struct nj_error ignored = {0};

    nj_buf_init(&bytes, NJ_MANIFEST_MAX_BYTES);
    if (nj_fsio_read_file(view->dir.fd, "job.yaml", &bytes, &ignored) < 0 ||
        nj_manifest_parse(nj_buf_span(&bytes), "job.yaml", &manifest, &faults, &ignored) < 0)
        return 0;
    return (uint64_t)manifest->runtime_micro_usd_per_hour;
}

/* become_owner - who only reads a run needs no right that its owner has not; root's own stays
 * root's
 */
static int become_owner(int dir_fd, struct nj_error *err)
{
    char user[32];
    struct stat st;

    if (geteuid() != 0)
        return 0;
    if (fstat(dir_fd, &st) < 0)
        return nj_fail_errno(err, errno, "look at the run's folder");
    if (st.st_uid == 0)
        return 0;
    (void)snprintf(user, sizeof(user), "%u", st.st_uid);
    return nj_drop_privileges(user, NULL, err);
}

int nj_view_open(const char *run_path, int write_fd, struct nj_view *ret_view, struct nj_error *err)
{
    static const struct nj_view empty = NJ_VIEW_EMPTY;
    NJ_AUTO(nj_view_done) struct nj_view view = empty;

    nj_ledger_init(&view.ledger);
    if (nj_run_dir_open(run_path, false, &view.dir, err) < 0 ||
        (write_fd < 0 && become_owner(view.dir.fd, err) < 0) ||
        nj_confine_reader(&view.dir.fd, 1, write_fd, false, err) < 0 ||
        nj_view_refresh(&view, err) < 0 ||
        nj_journal_open(view.dir.journal_fd, &view.journal, err) < 0)
        return -(int)err->code;
    view.ledger.usd_per_hour_micro = runtime_price(&view);
    *ret_view = view;
    ret_view->ledger.job = ret_view->state.job;
    ret_view->ledger.state = ret_view->state.state;
    ret_view->ledger.stop_reason = ret_view->state.stop_reason;
    view = empty;
    return 0;
}

int nj_view_read(struct nj_view *view, struct nj_error *err)
{
    int r = nj_ledger_read(&view->ledger, view->journal, err);

    return r < 0 ? nj_wrap(err, "run %s: journal", view->dir.path) : r;
}

uint64_t nj_view_journal_bytes(const struct nj_view *view)
{
    int fd = openat(view->dir.journal_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *stream = fd >= 0 ? fdopendir(fd) : NULL;
    struct dirent *entry;
    uint64_t sum = 0;
    struct stat st;

    if (!stream) {
        if (fd >= 0)
            (void)close(fd);
        return 0;
    }
    while ((entry = readdir(stream)))
        if (fstatat(view->dir.journal_fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
            S_ISREG(st.st_mode))
            sum += (uint64_t)st.st_size;
    (void)closedir(stream);
    return sum;
}

int64_t nj_view_now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

struct nj_summary_style nj_view_style(int fd)
{
    struct nj_summary_style style = {.columns = 100, .utf8 = nj_text_locale()};
    const char *no_color = getenv("NO_COLOR");
    const char *term = getenv("TERM");
    struct winsize size = {0};

    if (isatty(fd) != 1)
        return style;
    style.color = (!no_color || !no_color[0]) && term && strcmp(term, "dumb") != 0;
    if (ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
        style.columns = size.ws_col;
    return style;
}
