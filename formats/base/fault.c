/*
 * fault.c - counting passes over named points, and failing the n-th
 *
 * Several threads pass points, and a process may fork at any time, so the tables use atomics and no
 * lock: a child can never inherit a lock that nobody will release. The tables lie in memory that is
 * shared over fork(): a box that is built anew after its supervisor was killed would otherwise meet
 * the same fault for ever. Names are literals, so a forked process finds them at the same address.
 * A mistyped NJ_FAULT aborts the process; a test that armed nothing would otherwise pass and prove
 * nothing.
 */
#include "formats/base/fault.h"

#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "formats/base/cleanup.h"

#include "formats/base/banned.h"

#define POINTS_MAX 64
#define ROLES_MAX 8
#define ARMED_MAX 16
#define NAME_MAX_BYTES 64
#define DEFAULT_ROLE "engine"
#define ACTION_KILL 100 /* never returned to a caller */

struct point {
    _Atomic(const char *) name; /* the caller's literal; NULL: free */
    atomic_ulong passes;
    atomic_ulong untold; /* of these: not yet written to NJ_FAULT_COUNT */
};

struct role {
    _Atomic(const char *) name;
    struct point points[POINTS_MAX];
};

struct armed_fault {
    char point[NAME_MAX_BYTES];
    unsigned long nth;
    int action;
};

static atomic_bool awake;  /* something is armed or counted */
static struct role *roles; /* ROLES_MAX of them, shared with all that we fork */
static struct role *own;   /* the role of this process */
static pid_t beginner;     /* the process that made @roles */
static struct armed_fault faults[ARMED_MAX];
static size_t n_faults;
static int count_fd = -1; /* opened at once: later we may be another user, or behind a chroot */

static _Noreturn void refuse(const char *spec, const char *why)
{
    fprintf(stderr,
            "NJ_FAULT: \"%s\": %s; want [role/]point[#n]:action with action one of kill, enospc, "
            "eio, eintr, short\n",
            spec, why);
    abort();
}

static int action_of(const char *word)
{
    static const struct {
        const char *word;
        int action;
    } actions[] = {
        {"kill", ACTION_KILL},     {"enospc", NJ_FAULT_ENOSPC}, {"eio", NJ_FAULT_EIO},
        {"eintr", NJ_FAULT_EINTR}, {"short", NJ_FAULT_SHORT},
    };

    for (size_t i = 0; i < sizeof(actions) / sizeof(actions[0]); i++) {
        if (strcmp(word, actions[i].word) == 0)
            return actions[i].action;
    }
    return NJ_FAULT_NONE;
}

/* arm - take one "[role/]point[#n]:action"; @spec is scratch that is cut up here */
static void arm(char *spec, const char *whole)
{
    struct armed_fault fault = {.nth = 1};
    char *colon = strrchr(spec, ':'), *slash, *hash, *end;
    const char *role = DEFAULT_ROLE;

    if (!colon)
        refuse(whole, "no action");
    *colon = '\0';
    fault.action = action_of(colon + 1);
    if (fault.action == NJ_FAULT_NONE)
        refuse(whole, "no such action");
    slash = strchr(spec, '/');
    if (slash) {
        *slash = '\0';
        role = spec;
        spec = slash + 1;
    }
    hash = strchr(spec, '#');
    if (hash) {
        *hash = '\0';
        fault.nth = strtoul(hash + 1, &end, 10);
        if (hash[1] < '1' || hash[1] > '9' || *end != '\0')
            refuse(whole, "#n is not a number from 1");
    }
    if (*spec == '\0' || strlen(spec) >= sizeof(fault.point))
        refuse(whole, "no point, or its name is too long");
    if (strcmp(role, own->name) != 0)
        return;
    if (n_faults == ARMED_MAX)
        refuse(whole, "too many faults");
    memcpy(fault.point, spec, strlen(spec) + 1);
    faults[n_faults++] = fault;
}

/* drop_roles - where this process began, its counts start anew; in a forked one they go on */
static void drop_roles(void)
{
    if (!roles || beginner != getpid())
        return;
    (void)munmap(roles, ROLES_MAX * sizeof(*roles));
    roles = NULL;
    if (count_fd >= 0)
        (void)close(count_fd); /* each line was written when it was told */
    count_fd = -1;
}

/* make_roles - tables for this process and all that it forks; in a forked one those of the beginner
 */
static void make_roles(const char *count)
{
    if (roles)
        return;
    roles = mmap(NULL, ROLES_MAX * sizeof(*roles), PROT_READ | PROT_WRITE,
                 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (roles == MAP_FAILED)
        refuse("", "out of memory");
    beginner = getpid();
    if (count && *count) {
        count_fd = open(count, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
        if (count_fd < 0)
            refuse(count, "NJ_FAULT_COUNT cannot be opened");
    }
}

static struct role *find_role(const char *name)
{
    for (size_t i = 0; i < ROLES_MAX; i++) {
        const char *there = atomic_load(&roles[i].name);

        if (!there && atomic_compare_exchange_strong(&roles[i].name, &there, name))
            there = name;
        if (strcmp(there, name) == 0)
            return &roles[i];
    }
    refuse(name, "too many roles");
}

void nj_fault_init(const char *role)
{
    const char *spec = getenv("NJ_FAULT"), *count = getenv("NJ_FAULT_COUNT");

    atomic_store(&awake, false);
    n_faults = 0;
    drop_roles();
    if ((!spec || !*spec) && (!count || !*count))
        return;
    make_roles(count);
    own = find_role(role);
    if (spec && *spec) {
        nj_auto_free char *copy = strdup(spec);
        char *rest = copy, *item;

        if (!copy)
            refuse(spec, "out of memory");
        while ((item = strsep(&rest, ",")))
            arm(item, spec);
    }
    atomic_store(&awake, n_faults > 0 || (count && *count));
}

static void tell(int fd, const char *role, struct point *point)
{
    const char *name = atomic_load(&point->name);
    unsigned long passes = atomic_exchange(&point->untold, 0);
    char line[2 * NAME_MAX_BYTES + 32];
    int len;

    if (!name || passes == 0)
        return;
    len = snprintf(line, sizeof(line), "%.*s %.*s %lu\n", NAME_MAX_BYTES, role, NAME_MAX_BYTES,
                   name, passes);
    if (write(fd, line, (size_t)len) != len) /* one write: lines of processes do not mix */
        perror("NJ_FAULT_COUNT");
}

void nj_fault_done(void)
{
    if (!atomic_load(&awake) || count_fd < 0 || beginner != getpid())
        return;
    for (size_t i = 0; i < ROLES_MAX; i++) {
        const char *role = atomic_load(&roles[i].name);

        for (size_t k = 0; role && k < POINTS_MAX; k++)
            tell(count_fd, role, &roles[i].points[k]);
    }
}

/* pass - count a pass over @name; its number, from 1 */
static unsigned long pass(const char *name)
{
    for (size_t i = 0; i < POINTS_MAX; i++) {
        struct point *point = &own->points[i];
        const char *there = atomic_load(&point->name);

        if (!there && atomic_compare_exchange_strong(&point->name, &there, name))
            there = name;
        if (strcmp(there, name) == 0) {
            (void)atomic_fetch_add(&point->untold, 1);
            return atomic_fetch_add(&point->passes, 1) + 1;
        }
    }
    fprintf(stderr, "NJ_FAULT: more than %d points\n", POINTS_MAX);
    abort();
}

static void kill_ourselves(void)
{
    (void)kill(getpid(), SIGKILL);
    for (;;)
        _exit(137); /* the first process of a pid namespace cannot kill itself */
}

static enum nj_fault_action pass_slowly(const char *name)
{
    unsigned long nth = pass(name);

    for (size_t i = 0; i < n_faults; i++) {
        if (faults[i].nth != nth || strcmp(faults[i].point, name) != 0)
            continue;
        if (faults[i].action == ACTION_KILL)
            kill_ourselves();
        return (enum nj_fault_action)faults[i].action;
    }
    return NJ_FAULT_NONE;
}

enum nj_fault_action nj_fault(const char *point)
{
    if (__builtin_expect(!atomic_load_explicit(&awake, memory_order_acquire), 1))
        return NJ_FAULT_NONE;
    return pass_slowly(point);
}
