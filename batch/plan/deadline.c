/*
 * deadline.c - when a time of day is next, in a zone
 *
 * The complication: mktime() takes a time that exists twice or not at all for whatever it likes,
 * and a zone it does not know for UTC, in silence. So the file is looked for first, and the time is
 * found from both of the offsets that hold around it.
 */
#include "batch/plan/deadline.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "formats/base/cleanup.h"

#include "formats/base/banned.h"

#define ZONE_DIR "/usr/share/zoneinfo/"
#define ZONE_MAX_BYTES 64
#define DAY_S 86400
#define DAYS_MAX 4

/* The value for TZ: the zone's file, once it was seen to be one. */
static int find_zone(const char *zone, char tz[ZONE_MAX_BYTES + sizeof(ZONE_DIR) + 1],
                     struct nj_error *err)
{
    size_t size = ZONE_MAX_BYTES + sizeof(ZONE_DIR) + 1;
    nj_auto_close int fd = -1;
    char magic[4] = "";

    if (strcmp(zone, "UTC") == 0) {
        (void)snprintf(tz, size, "UTC0");
        return 0;
    }
    (void)snprintf(tz, size, ":" ZONE_DIR "%.*s", ZONE_MAX_BYTES, zone);
    fd = open(tz + 1, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0 || read(fd, magic, sizeof(magic)) != (ssize_t)sizeof(magic) ||
        memcmp(magic, "TZif", sizeof(magic)) != 0)
        return nj_fail(err, NJ_E_INPUT,
                       "this host knows no time zone %.*s (names are those under " ZONE_DIR
                       "; Debian has them in tzdata)",
                       ZONE_MAX_BYTES, zone);
    return 0;
}

static long offset_at(time_t at)
{
    struct tm tm;

    return localtime_r(&at, &tm) ? tm.tm_gmtoff : 0;
}

/* When a clock of the zone shows what one of UTC shows at @shown. */
static time_t moment_of(time_t shown)
{
    long before = offset_at(shown - DAY_S);
    long after = offset_at(shown + DAY_S);
    time_t first = shown - (before > after ? before : after);
    time_t second = shown - (before > after ? after : before);
    time_t low = shown - DAY_S;
    time_t high = shown + DAY_S;

    if (first + offset_at(first) == shown)
        return first;
    if (second + offset_at(second) == shown)
        return second;
    while (high - low > 1) { /* jumped over: the moment of the jump */
        time_t middle = low + (high - low) / 2;

        if (offset_at(middle) == before)
            low = middle;
        else
            high = middle;
    }
    return high;
}

static int64_t next_in_zone(int hour, int minute, time_t now)
{
    struct tm today;
    time_t midnight;

    if (!localtime_r(&now, &today))
        return now + DAY_S;
    today.tm_hour = today.tm_min = today.tm_sec = 0;
    midnight = timegm(&today); /* as a clock of UTC would show it */
    for (int day = 0; day < DAYS_MAX; day++) {
        time_t at = moment_of(midnight + (time_t)day * DAY_S + hour * 3600 + minute * 60);

        if (at > now)
            return at;
    }
    return now + DAY_S;
}

int nj_deadline_next(const char *text, int64_t now_s, int64_t *ret_s, struct nj_error *err)
{
    char tz[ZONE_MAX_BYTES + sizeof(ZONE_DIR) + 1];
    nj_auto_free char *before = getenv("TZ") ? strdup(getenv("TZ")) : NULL;
    int hour = (text[0] - '0') * 10 + text[1] - '0';
    int minute = (text[3] - '0') * 10 + text[4] - '0';
    int r;

    r = find_zone(text + 6, tz, err);
    if (r < 0)
        return r;
    if (setenv("TZ", tz, 1) < 0)
        return nj_fail_nomem(err);
    tzset();
    *ret_s = next_in_zone(hour, minute, (time_t)now_s);
    if (before ? setenv("TZ", before, 1) < 0 : unsetenv("TZ") < 0)
        return nj_fail_nomem(err);
    tzset();
    return 0;
}
