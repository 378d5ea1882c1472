/*
 * keys.h - a snapshot's keys in canonical order, shared by writer and reader
 */
#ifndef NJ_SNAPSHOT_KEYS_H
#define NJ_SNAPSHOT_KEYS_H

#define NJ_SNAPSHOT_KEYS(X)                                                                        \
    X(ATTEMPTS_FAILED, "attempts_failed")                                                          \
    X(CALLS_DONE, "calls_done")                                                                    \
    X(CLOSING, "closing")                                                                          \
    X(CONFIG, "config")                                                                            \
    X(CONVERSATION, "conversation")                                                                \
    X(COST, "cost_micro_usd")                                                                      \
    X(JUDGE_ROUNDS, "judge_rounds")                                                                \
    X(SEQUENCE, "sequence")                                                                        \
    X(STATE, "state")                                                                              \
    X(STEPS, "steps")                                                                              \
    X(TIME, "time_ns")                                                                             \
    X(TOOL_TIME, "tool_time_ms")                                                                   \
    X(TURN, "turn")                                                                                \
    X(USAGE, "usage")                                                                              \
    X(VERSION, "v")                                                                                \
    X(WORKSPACE, "workspace")

enum nj_snapshot_key {
#define X(name, text) NJ_SNAPSHOT_KEY_##name,
    NJ_SNAPSHOT_KEYS(X)
#undef X
};

static const char *const nj_snapshot_keys[] = {
#define X(name, text) text,
    NJ_SNAPSHOT_KEYS(X)
#undef X
};

#define NJ_SNAPSHOT_KEYS_COUNT (sizeof(nj_snapshot_keys) / sizeof(nj_snapshot_keys[0]))

#endif
