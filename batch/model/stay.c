/*
 * stay.c - how long a session stays down its chain
 */
#include "batch/model/stay.h"

#include "formats/base/banned.h"

size_t nj_stay_begins(const struct nj_stay *stay, const struct nj_manifest_role *role,
                      int64_t now_ns)
{
    /* A clock that was set back would prolong the stay by as much: it is over then. */
    if (stay->place == 0 || stay->place >= role->n_chain || now_ns < stay->since_ns ||
        (uint64_t)(now_ns - stay->since_ns) / 1000000000 >= role->return_seconds)
        return 0;
    return stay->place;
}

void nj_stay_replied(struct nj_stay *stay, size_t began, size_t place, int64_t time_ns)
{
    if (place != began || place != stay->place)
        stay->since_ns = time_ns;
    stay->place = place;
}
