/*
 * event_inside.h - what the encoder and the decoder of events share; private to event*.c
 */
#ifndef NJ_JOURNAL_EVENT_INSIDE_H
#define NJ_JOURNAL_EVENT_INSIDE_H

#include "formats/journal/event.h"

#define SEED_BYTES ((size_t)NJ_SEED_BYTES)

/* nj_event_fault - why @event may not stand in a journal, as a text that stays; NULL: it may */
const char *nj_event_fault(const struct nj_event *event);

/* nj_event_cost_place - where a kind keeps what it cost beside a reply; NULL: it has none */
uint64_t *nj_event_cost_place(struct nj_event *event);

/* nj_event_has_answer - whether the kind's meta may hold an answer's traces */
bool nj_event_has_answer(enum nj_event_kind kind);

#endif
