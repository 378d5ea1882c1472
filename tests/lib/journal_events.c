/*
 * journal_events.c - what a run's journal holds as durable, one line an event
 *
 * usage: journal_events RUN/journal
 *
 * Prints "KEY EVENT" and, where they have them, turn and call, or what became of the box: the fault
 * tests compare it with the log of delivered replies. It reads only, beside a live engine or after
 * a kill, and ends at the last whole commit. A session whose beginning is gone, since it has ended
 * and the journal was thinned, has the key "?N".
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>

#include "formats/journal/journal.h"

#include "formats/base/banned.h"

#define SESSIONS_MAX 4096

static char *keys[SESSIONS_MAX];

static const char *const changes[] = {
    [NJ_BOX_BUILT] = "built",
    [NJ_BOX_RESTORED] = "restored",
    [NJ_BOX_EVICTED] = "evicted",
    [NJ_BOX_LOST] = "lost",
};

static int print_event(const struct nj_frame *frame, struct nj_error *err)
{
    struct nj_event event;
    const char *key;

    if (nj_event_decode(frame->payload, &event, err) < 0)
        return -(int)err->code;
    if (frame->session >= SESSIONS_MAX)
        return nj_fail(err, NJ_E_LIMIT, "session %u: at most %d are shown", frame->session,
                       SESSIONS_MAX);
    if (event.kind == NJ_EVENT_OPENED && !keys[frame->session])
        keys[frame->session] = nj_span_dup(event.opened.key);
    key = keys[frame->session];
    if (key)
        printf("%s", key);
    else
        printf("?%u", frame->session);
    printf(" %s", nj_event_kind_text(event.kind));
    if (event.kind == NJ_EVENT_REPLY)
        printf(" %" PRIu64, event.reply.turn);
    if (event.kind == NJ_EVENT_NO_REPLY)
        printf(" %" PRIu64, event.no_reply.turn);
    if (event.kind == NJ_EVENT_TOOL_DONE)
        printf(" %" PRIu64 " %" PRIu64, event.tool_done.turn, event.tool_done.call);
    if (event.kind == NJ_EVENT_JUDGED)
        printf(" %" PRIu64, event.judged.round);
    if (event.kind == NJ_EVENT_BOX)
        printf(" %s", changes[event.box.change]);
    printf("\n");
    return 0;
}

static int print_all(const char *path, struct nj_error *err)
{
    NJ_AUTO(nj_journal_free) struct nj_journal *journal = NULL;
    nj_auto_close int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct nj_frame frame;
    int r;

    if (fd < 0)
        return nj_fail_errno(err, errno, "open %s", path);
    if (nj_journal_open(fd, &journal, err) < 0)
        return -(int)err->code;
    while ((r = nj_journal_next(journal, &frame, err)) == NJ_JOURNAL_FRAME) {
        if (frame.kind == NJ_FRAME_EVENT && print_event(&frame, err) < 0)
            return -(int)err->code;
    }
    return r < 0 ? r : 0;
}

int main(int argc, char **argv)
{
    struct nj_error err = {0};
    int r = argc == 2 ? print_all(argv[1], &err)
                      : nj_fail(&err, NJ_E_INPUT, "usage: journal_events RUN/journal");

    if (r < 0)
        fprintf(stderr, "journal_events: %s\n", err.text);
    for (size_t i = 0; i < SESSIONS_MAX; i++)
        free(keys[i]);
    return r < 0 ? 1 : 0;
}
