/*
 * digests.c - the two chains over a session's frames
 *
 * The record digest changes with every byte of the record; the content digest leaves out what two
 * runs of the same work may differ in (times, attempts, boxes), so it chains only the bodies of
 * content events.
 */
#include <inttypes.h>
#include <stdio.h>

#include "formats/journal/journal.h"

#include "formats/base/banned.h"

#define LABEL_MAX_BYTES 64

static bool is_sequenced(enum nj_frame_kind kind)
{
    return kind == NJ_FRAME_EVENT || kind == NJ_FRAME_SNAPSHOT || kind == NJ_FRAME_OUTPUT;
}

static void add_record(struct nj_record_digests *digests, const struct nj_frame *frame)
{
    char label[LABEL_MAX_BYTES];

    (void)snprintf(label, sizeof(label), "%s:%" PRIu64, nj_frame_kind_text(frame->kind),
                   frame->sequence);
    nj_digest_chain(&digests->record, label, frame->payload);
}

void nj_record_digests_add_event(struct nj_record_digests *digests, const struct nj_frame *frame,
                                 const struct nj_event *event)
{
    if (nj_event_is_content(event->kind))
        nj_digest_chain(&digests->content, nj_event_kind_text(event->kind),
                        nj_event_body(frame->payload));
    add_record(digests, frame);
}

int nj_record_digests_add(struct nj_record_digests *digests, const struct nj_frame *frame,
                          struct nj_error *err)
{
    struct nj_event event;

    if (!is_sequenced(frame->kind))
        return 0;
    if (frame->kind != NJ_FRAME_EVENT) {
        add_record(digests, frame);
        return 0;
    }
    if (nj_event_decode(frame->payload, &event, err) < 0)
        return nj_wrap(err, "frame %" PRIu64, frame->sequence);
    nj_record_digests_add_event(digests, frame, &event);
    return 0;
}
