/*
 * keys.h - the keys of a snapshot's map, ascending; shared by encode.c and decode.c and nobody else
 */
#ifndef NJ_SNAPSHOT_KEYS_H
#define NJ_SNAPSHOT_KEYS_H

#define NJ_SNAPSHOT_KEYS(X)                                                                        \
    X(AT, "at")                                                                                    \
    X(CALLS, "calls")                                                                              \
    X(CLOCK, "clock")                                                                              \
    X(COMPACT, "compact")                                                                          \
    X(CONFIG, "config")                                                                            \
    X(COST, "cost")                                                                                \
    X(END, "end")                                                                                  \
    X(END_KIND, "end_kind")                                                                        \
    X(END_TEXT, "end_text")                                                                        \
    X(FAILED, "failed")                                                                            \
    X(JUDGED, "judged")                                                                            \
    X(LIST, "list")                                                                                \
    X(MESSAGES, "messages")                                                                        \
    X(PROMPT, "prompt")                                                                            \
    X(PROMPT_ITEMS, "prompt_items")                                                                \
    X(SEED, "seed")                                                                                \
    X(SEQ, "seq")                                                                                  \
    X(STAMPS, "stamps")                                                                            \
    X(STATE, "state")                                                                              \
    X(STEPS, "steps")                                                                              \
    X(TOOL_MS, "tool_ms")                                                                          \
    X(TREE, "tree")                                                                                \
    X(TURN, "turn")                                                                                \
    X(USE_IN, "use_in")                                                                            \
    X(USE_OUT, "use_out")                                                                          \
    X(USE_READ, "use_read")                                                                        \
    X(USE_W1H, "use_w1h")                                                                          \
    X(USE_W5M, "use_w5m")                                                                          \
    X(V, "v")

enum nj_snapshot_key {
#define X(name, text) NJ_SNAPSHOT_KEY_##name,
    NJ_SNAPSHOT_KEYS(X)
#undef X
};

static const char *const nj_snapshot_keys[] = {
#define X(name, text) [NJ_SNAPSHOT_KEY_##name] = text,
    NJ_SNAPSHOT_KEYS(X)
#undef X
};

#define NJ_SNAPSHOT_N_KEYS (sizeof(nj_snapshot_keys) / sizeof(nj_snapshot_keys[0]))

#endif
