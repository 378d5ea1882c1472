/*
 * isolate.c - the descriptors and the network of the replaying process
 *
 * The one complication: unshare(CLONE_NEWUSER) gives all capabilities inside the new namespace.
 * They are needed for nothing but the network namespace made in the same call, so they go right
 * away.
 */
#include "replay/isolate.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <net/if.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "formats/base/cleanup.h"

#include "formats/base/banned.h"

#define PORT_TRIED 53

int nj_isolate_descriptors(struct nj_error *err)
{
    if (close_range(STDERR_FILENO + 1, ~0u, 0) < 0)
        return nj_fail_errno(err, errno, "close inherited descriptors");
    for (int fd = 0; fd <= STDERR_FILENO; fd++) {
        /* A closed 0, 1 or 2 would be given to the next file that is opened. */
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) < 0)
            return nj_fail_errno(err, errno, "open /dev/null for descriptor %d", fd);
    }
    return 0;
}

static int network_inode(ino_t *ret_inode, struct nj_error *err)
{
    struct stat st;

    if (stat("/proc/self/ns/net", &st) < 0)
        return nj_fail_errno(err, errno, "look at /proc/self/ns/net (is /proc mounted?)");
    *ret_inode = st.st_ino;
    return 0;
}

static int write_map(const char *path, const char *text, struct nj_error *err)
{
    nj_auto_close int fd = open(path, O_WRONLY | O_CLOEXEC);

    if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text))
        return nj_fail_errno(err, errno, "write %s", path);
    return 0;
}

static int map_self(uid_t uid, gid_t gid, struct nj_error *err)
{
    char text[64];
    int r;

    r = write_map("/proc/self/setgroups", "deny", err);
    if (r == 0) {
        (void)snprintf(text, sizeof(text), "%u %u 1\n", gid, gid);
        r = write_map("/proc/self/gid_map", text, err);
    }
    if (r == 0) {
        (void)snprintf(text, sizeof(text), "%u %u 1\n", uid, uid);
        r = write_map("/proc/self/uid_map", text, err);
    }
    return r;
}

static int drop_capabilities(struct nj_error *err)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {0};

    for (int cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++)
        (void)prctl(PR_CAPBSET_DROP, cap, 0, 0,
                    0); /* no right to: then exec cannot regain it either */
    (void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0,
                0); /* kernels without it have none */
    if (syscall(SYS_capset, &header, none) < 0)
        return nj_fail_errno(err, errno, "drop capabilities");
    return 0;
}

static int refused(struct nj_error *err, int errnum)
{
    (void)nj_fail_errno(
        err, errnum,
        "this host refuses a network namespace of our own (allow user namespaces: sysctl "
        "user.max_user_namespaces above 0, kernel.unprivileged_userns_clone=1, "
        "kernel.apparmor_restrict_unprivileged_userns=0; in a container, run it with a seccomp "
        "profile "
        "that allows unshare; or run as root)");
    return 1;
}

int nj_isolate_network(struct nj_error *err)
{
    uid_t uid = geteuid();
    gid_t gid = getegid();
    ino_t before = 0, after = 0;
    int r;

    r = network_inode(&before, err);
    if (r < 0)
        return r;
    if (unshare(CLONE_NEWNET) < 0) {
        if (errno != EPERM)
            return refused(err, errno);
        if (unshare(CLONE_NEWUSER | CLONE_NEWNET) < 0)
            return refused(err, errno);
        r = map_self(uid, gid, err);
        if (r == 0)
            r = drop_capabilities(err);
        if (r < 0)
            return nj_wrap(err, "settle in a user namespace");
    }
    r = network_inode(&after, err);
    if (r < 0)
        return r;
    if (before == after)
        return nj_fail(err, NJ_E_SYSTEM, "unshare left this process in the old network namespace");
    return nj_isolate_check(err);
}

static int check_interfaces(int fd, struct nj_error *err)
{
    struct if_nameindex *list = if_nameindex();
    int r = 0;

    if (!list)
        return nj_fail_errno(err, errno, "list network interfaces");
    for (struct if_nameindex *at = list; r == 0 && at->if_index != 0; at++) {
        struct ifreq request = {0};

        (void)snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", at->if_name);
        if (ioctl(fd, SIOCGIFFLAGS, &request) < 0)
            r = nj_fail_errno(err, errno, "look at interface %s", at->if_name);
        else if (request.ifr_flags & IFF_UP)
            r = nj_fail(err, NJ_E_SYSTEM, "the network is not empty: interface %s is up",
                        at->if_name);
        /* Some kernels put tunnel fallbacks (sit0, tunl0) into every namespace: down they reach
         * nothing. */
    }
    if_freenameindex(list);
    return r;
}

/* A datagram socket's connect() only asks for a route and sends nothing: with loopback down there
 * is none, not even to ourselves. */
static int check_no_route(int fd, struct nj_error *err)
{
    struct sockaddr_in self = {.sin_family = AF_INET,
                               .sin_port = htons(PORT_TRIED),
                               .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};

    if (connect(fd, (struct sockaddr *)&self, sizeof(self)) == 0)
        return nj_fail(err, NJ_E_SYSTEM, "the network is not empty: the loopback address answers");
    if (errno != ENETUNREACH)
        return nj_fail_errno(err, errno, "try to reach the loopback address");
    return 0;
}

int nj_isolate_check(struct nj_error *err)
{
    nj_auto_close int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    int r;

    if (fd < 0 && errno == EAFNOSUPPORT)
        return 0; /* a kernel without IPv4 */
    if (fd < 0)
        return nj_fail_errno(err, errno, "open a socket to try the network");
    r = check_interfaces(fd, err);
    return r < 0 ? r : check_no_route(fd, err);
}
