/*
 * parse_limits.c - how much, how often, how long: limits of run, agents and groups, retry, archive
 *
 * The complication: a limit that is not given stands for the one above it (group, agent, run), and
 * only whoever makes the plan can tell which that is. So "not given" is kept apart from every value
 * that can be given.
 */
#include <stdio.h>

#include "formats/manifest/read.h"

#include "formats/base/banned.h"

#define MICRO 1000000
#define BUDGET_MAX (1000000000LL * MICRO)
#define SESSIONS_MAX 100000
#define AT_ONCE_MAX 4096
#define ATTEMPTS_MAX 100
#define TURNS_MAX 10000
#define BACKOFF_SECONDS_MAX 86400
#define DISK_MB_MAX (1u << 20)
#define FAILED_MAX 1000000
#define RETAIN_DAYS_MAX 36500

/* "06:00 Europe/Berlin". Whether the zone exists is for the engine, which has the zone files. */
static const char *deadline_fault(const char *text)
{
    static const char *const zone_chars =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_+-/";
    static const char *const shape = "expected a time and a zone, such as \"06:00 Europe/Berlin\"";
    const char *zone = text + 6;

    if (strlen(text) < 7 || strlen(text) > 64 || text[2] != ':' || text[5] != ' ')
        return shape;
    for (size_t i = 0; i < 5; i++) {
        if (i != 2 && (text[i] < '0' || text[i] > '9'))
            return shape;
    }
    if (text[0] > '2' || (text[0] == '2' && text[1] > '3') || text[3] > '5')
        return "expected a time from 00:00 to 23:59";
    if (zone[strspn(zone, zone_chars)] || *zone == '/' || strstr(zone, "//") ||
        zone[strlen(zone) - 1] == '/')
        return shape;
    return NULL;
}

static void read_budget(struct nj_manifest_reading *in, const struct nj_yaml_node *map,
                        const char *key, int64_t *ret)
{
    const struct nj_yaml_node *node = nj_yaml_get(map, key);

    if (node)
        (void)nj_yaml_micro(&in->yaml, node, 1, BUDGET_MAX, ret); /* its fault is in the list */
}

/* A share from 0 to 1, or a whole number of sessions from 2 on: 1 has always been the share. */
static void read_fail_over(struct nj_manifest_reading *in, const struct nj_yaml_node *node,
                           struct nj_manifest_limits *limits)
{
    const char *text = node ? (const char *)node->text.data : NULL;
    int64_t share = MICRO;

    if (!node)
        return;
    if (nj_yaml_type(node) == NJ_YAML_INT && strcmp(text, "0") != 0 && strcmp(text, "1") != 0) {
        (void)nj_yaml_uint(&in->yaml, node, 0, FAILED_MAX, &limits->fail_over_count);
        return;
    }
    if (nj_yaml_type(node) != NJ_YAML_INT && nj_yaml_type(node) != NJ_YAML_FLOAT)
        nj_yaml_expected(&in->yaml, node,
                         "a share of failed sessions from 0 to 1, or a number of them from 2 on");
    else if (nj_yaml_micro(&in->yaml, node, 0, MICRO, &share))
        limits->fail_over_ppm = (uint32_t)share;
}

void nj_manifest_read_run_limits(struct nj_manifest_reading *in, const struct nj_yaml_node *node)
{
    static const char *const keys[] = {"sessions",   "tool_calls",         "warm_boxes",
                                       "budget_usd", "session_budget_usd", "deadline",
                                       "fail_over",  "disk_free_mb"};
    struct nj_manifest_limits *limits = &in->manifest->limits;
    const struct nj_yaml_node *child;

    *limits = (struct nj_manifest_limits){.sessions = 64,
                                          .budget_micro_usd = -1,
                                          .session_budget_micro_usd = -1,
                                          .fail_over_ppm = MICRO,
                                          .fail_over_count = NJ_MANIFEST_NO_COUNT,
                                          .disk_free_mb = 1024};
    if (!node || !nj_yaml_keys(&in->yaml, node, keys, NJ_COUNT(keys)))
        return;
    in->manifest->limits_mark = node->mark;
    nj_manifest_read_uint(in, node, "sessions", 1, SESSIONS_MAX, &limits->sessions);
    nj_manifest_read_uint(in, node, "tool_calls", 0, AT_ONCE_MAX, &limits->tool_calls);
    nj_manifest_read_uint(in, node, "warm_boxes", 0, AT_ONCE_MAX, &limits->warm_boxes);
    read_budget(in, node, "budget_usd", &limits->budget_micro_usd);
    read_budget(in, node, "session_budget_usd", &limits->session_budget_micro_usd);
    child = nj_yaml_get(node, "deadline");
    if (child)
        limits->deadline_mark = child->mark;
    nj_manifest_read_checked(in, node, "deadline", deadline_fault, &limits->deadline);
    read_fail_over(in, nj_yaml_get(node, "fail_over"), limits);
    nj_manifest_read_uint(in, node, "disk_free_mb", 0, DISK_MB_MAX, &limits->disk_free_mb);
}

void nj_manifest_read_limit(struct nj_manifest_reading *in, const struct nj_yaml_node *node,
                            uint64_t turns, struct nj_manifest_limit *ret)
{
    static const char *const keys[] = {"sessions", "budget_usd", "session_budget_usd", "turns"};

    *ret = (struct nj_manifest_limit){
        .turns = turns, .budget_micro_usd = -1, .session_budget_micro_usd = -1};
    if (!node || !nj_yaml_keys(&in->yaml, node, keys, NJ_COUNT(keys)))
        return;
    ret->mark = node->mark;
    nj_manifest_read_uint(in, node, "sessions", 1, SESSIONS_MAX, &ret->sessions);
    read_budget(in, node, "budget_usd", &ret->budget_micro_usd);
    read_budget(in, node, "session_budget_usd", &ret->session_budget_micro_usd);
    nj_manifest_read_uint(in, node, "turns", 1, TURNS_MAX, &ret->turns);
}

void nj_manifest_read_retry(struct nj_manifest_reading *in, const struct nj_yaml_node *node,
                            const struct nj_manifest_retry *above, struct nj_manifest_retry *ret)
{
    static const char *const keys[] = {"attempts", "on", "backoff_seconds", "backoff_max_seconds"};
    static const struct nj_manifest_retry defaults = {.attempts = 1,
                                                      .on = NJ_RETRY_ENGINE | NJ_RETRY_MODEL,
                                                      .backoff_seconds = 10,
                                                      .backoff_max_seconds = 600};

    *ret = above ? *above : defaults;
    ret->mark = (struct nj_mark){0};
    if (!node || !nj_yaml_keys(&in->yaml, node, keys, NJ_COUNT(keys)))
        return;
    ret->mark = node->mark;
    nj_manifest_read_uint(in, node, "attempts", 1, ATTEMPTS_MAX, &ret->attempts);
    nj_manifest_read_bits(in, node, "on", "kind of failure", nj_manifest_retries,
                          NJ_COUNT(nj_manifest_retries), &ret->on);
    nj_manifest_read_uint(in, node, "backoff_seconds", 0, BACKOFF_SECONDS_MAX,
                          &ret->backoff_seconds);
    nj_manifest_read_uint(in, node, "backoff_max_seconds", 0, BACKOFF_SECONDS_MAX,
                          &ret->backoff_max_seconds);
    if (ret->backoff_max_seconds >= ret->backoff_seconds)
        return;
    if (nj_yaml_get(node, "backoff_max_seconds"))
        nj_yaml_fault(&in->yaml, nj_yaml_get(node, "backoff_max_seconds"),
                      "below backoff_seconds, which is %llu",
                      (unsigned long long)ret->backoff_seconds);
    ret->backoff_max_seconds = ret->backoff_seconds; /* a long first wait is the longest, too */
}

/* "30d", "12h", "8w" */
static const char *read_duration(const char *text, uint64_t *ret_seconds)
{
    static const char *const shape = "expected a number and a unit: \"12h\", \"30d\" or \"8w\"";
    size_t digits = strspn(text, "0123456789");
    uint64_t unit = 0;
    uint64_t count;

    if (digits == 0 || digits > 6 || !text[digits] || text[digits + 1])
        return shape;
    unit = text[digits] == 'h'   ? 3600
           : text[digits] == 'd' ? 86400
           : text[digits] == 'w' ? 604800
                                 : 0;
    count = strtoull(text, NULL, 10);
    if (unit == 0)
        return shape;
    if (count == 0 || count * unit > RETAIN_DAYS_MAX * UINT64_C(86400))
        return "expected at least an hour and at most a hundred years; leave it out to keep runs";
    *ret_seconds = count * unit;
    return NULL;
}

void nj_manifest_read_archive(struct nj_manifest_reading *in, const struct nj_yaml_node *node)
{
    static const char *const keys[] = {"inputs", "retain"};
    const struct nj_yaml_node *child;
    const char *text = NULL;
    const char *fault;
    size_t word = 0;

    if (!node || !nj_yaml_keys(&in->yaml, node, keys, NJ_COUNT(keys)))
        return;
    child = nj_yaml_get(node, "inputs");
    if (child && nj_yaml_enum(&in->yaml, child, "way", nj_manifest_input_modes,
                              NJ_COUNT(nj_manifest_input_modes), &word))
        in->manifest->archive_inputs = (enum nj_manifest_inputs)word;
    child = nj_yaml_get(node, "retain");
    if (!child || !nj_yaml_text(&in->yaml, child, 64, false, &text))
        return;
    fault = read_duration(text, &in->manifest->retain_seconds);
    if (fault)
        nj_yaml_fault(&in->yaml, child, "%s", fault);
}
