/*
 * answer.c - a model that answers at once: Anthropic Messages over HTTP/1.1 on loopback, as little
 * server as can be
 *
 * usage: answer PORT-FILE TEXT-BYTES TURNS TOOL INPUT [hold]
 *
 * The first TURNS replies of a conversation carry TEXT-BYTES of text and a call of TOOL with INPUT
 * (JSON); the next is text and the end. Which reply it is follows from the number of the
 * assistant's messages in the request. With `hold` the reply after those is never given, and the
 * connection stays. Streamed where the request asks for it, in seven events. One process, one epoll
 * loop; it ends when its standard input does.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define REQUEST_MAX_BYTES (8u << 20)
#define ANSWER_MAX_BYTES 65536
#define MARK "\"role\":\"assistant\""

struct peer {
    int fd;
    char *in;
    size_t len, room;
};

static char text[32768];
static const char *tool, *input;
static unsigned turns;
static bool hold;

static void die(const char *what)
{
    fprintf(stderr, "answer: %s: %s\n", what, strerror(errno));
    exit(1);
}

static int body_of(char *out, size_t size, unsigned turn, bool stream)
{
    const char *stop = turn < turns ? "tool_use" : "end_turn";
    char call[4096] = "";
    int n = 0;

    if (!stream) {
        if (turn < turns)
            snprintf(call, sizeof(call),
                     ",{\"type\":\"tool_use\",\"id\":\"toolu_%u\",\"name\":\"%s\",\"input\":%s}",
                     turn, tool, input);
        return snprintf(out, size,
                        "{\"id\":\"msg_1\",\"type\":\"message\",\"role\":\"assistant\",\"model\":"
                        "\"m\",\"content\":[{\"type\":\"text\","
                        "\"text\":\"%s\"}%s],\"stop_reason\":\"%s\",\"stop_sequence\":null,"
                        "\"usage\":{\"input_tokens\":10,\"output_tokens\":5}}",
                        text, call, stop);
    }
#define EVENT(name, ...)                                                                           \
    n += snprintf(out + n, size - (size_t)n, "event: " name "\ndata: " __VA_ARGS__)
    EVENT("message_start", "{\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"type\":"
                           "\"message\",\"role\":\"assistant\",\"model\":\"m\","
                           "\"content\":[],\"stop_reason\":null,\"stop_sequence\":null,\"usage\":{"
                           "\"input_tokens\":10,\"output_tokens\":1}}}\n\n");
    EVENT("content_block_start", "{\"type\":\"content_block_start\",\"index\":0,\"content_block\":{"
                                 "\"type\":\"text\",\"text\":\"\"}}\n\n");
    EVENT("content_block_delta",
          "{\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\","
          "\"text\":\"%s\"}}\n\n",
          text);
    EVENT("content_block_stop", "{\"type\":\"content_block_stop\",\"index\":0}\n\n");
    if (turn < turns) {
        EVENT("content_block_start",
              "{\"type\":\"content_block_start\",\"index\":1,\"content_block\":{\"type\":\"tool_"
              "use\",\"id\":\"toolu_%u\","
              "\"name\":\"%s\",\"input\":{}}}\n\n",
              turn, tool);
        EVENT("content_block_delta", "{\"type\":\"content_block_delta\",\"index\":1,\"delta\":{"
                                     "\"type\":\"input_json_delta\",\"partial_json\":\"");
        for (const char *c = input; *c && (size_t)n + 4 < size; c++) {
            if (*c == '"' || *c == '\\')
                out[n++] = '\\';
            out[n++] = *c;
        }
        n += snprintf(out + n, size - (size_t)n, "\"}}\n\n");
        EVENT("content_block_stop", "{\"type\":\"content_block_stop\",\"index\":1}\n\n");
    }
    EVENT("message_delta",
          "{\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"%s\",\"stop_sequence\":null},"
          "\"usage\":{\"output_tokens\":5}}\n\n",
          stop);
    EVENT("message_stop", "{\"type\":\"message_stop\"}\n\n");
    return n;
}

static bool answer(struct peer *peer, const char *body, size_t len)
{
    static char out[ANSWER_MAX_BYTES], head[256];
    const char *at = body;
    unsigned turn = 0;
    bool stream = memmem(body, len, "\"stream\":true", 13) != NULL;
    int n, m;

    while ((at = memmem(at, len - (size_t)(at - body), MARK, strlen(MARK)))) {
        at += strlen(MARK);
        turn++;
    }
    if (hold && turn >= turns)
        return true;
    n = body_of(out, sizeof(out), turn, stream);
    m = snprintf(head, sizeof(head),
                 "HTTP/1.1 200 OK\r\ncontent-type: %s\r\ncontent-length: %d\r\n\r\n",
                 stream ? "text/event-stream" : "application/json", n);
    /* Small enough for any socket's buffer: the client reads one answer before it asks again. */
    return send(peer->fd, head, (size_t)m, MSG_MORE | MSG_NOSIGNAL) == m &&
           send(peer->fd, out, (size_t)n, MSG_NOSIGNAL) == n;
}

/* Answers what is whole; false when the connection is to be closed. */
static bool serve(struct peer *peer)
{
    while (true) {
        char *end = memmem(peer->in, peer->len, "\r\n\r\n", 4), *length;
        size_t whole;

        if (!end)
            return true;
        *end = 0;
        length = strcasestr(peer->in, "\r\ncontent-length:");
        whole = (size_t)(end + 4 - peer->in) + (length ? strtoul(length + 17, NULL, 10) : 0);
        *end = '\r';
        if (peer->len < whole)
            return whole < REQUEST_MAX_BYTES;
        if (!answer(peer, end + 4, whole - (size_t)(end + 4 - peer->in)))
            return false;
        memmove(peer->in, peer->in + whole, peer->len - whole);
        peer->len -= whole;
    }
}

static bool take(struct peer *peer)
{
    ssize_t n;

    if (peer->len + 65536 > peer->room) {
        peer->room = peer->room ? 2 * peer->room : 131072;
        peer->in = peer->room > REQUEST_MAX_BYTES ? NULL : realloc(peer->in, peer->room);
        if (!peer->in)
            die("a request");
    }
    n = recv(peer->fd, peer->in + peer->len, peer->room - peer->len - 1, 0);
    if (n <= 0)
        return n < 0 && errno == EAGAIN;
    peer->len += (size_t)n;
    return serve(peer);
}

static int listen_on(const char *port_file)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    FILE *file;

    if (fd < 0 || bind(fd, (struct sockaddr *)&address, len) < 0 || listen(fd, 4096) < 0 ||
        getsockname(fd, (struct sockaddr *)&address, &len) < 0)
        die("listen");
    file = fopen(port_file, "w");
    if (!file || fprintf(file, "%u", ntohs(address.sin_port)) < 0 || fclose(file) != 0)
        die(port_file);
    return fd;
}

int main(int argc, char **argv)
{
    struct epoll_event events[256], event = {.events = EPOLLIN};
    struct rlimit files = {65536, 65536};
    size_t text_bytes;
    int loop = epoll_create1(EPOLL_CLOEXEC), listener, one = 1;

    if (argc < 6 || loop < 0) {
        fprintf(stderr, "usage: answer PORT-FILE TEXT-BYTES TURNS TOOL INPUT [hold]\n");
        return 2;
    }
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &files); /* fewer connections then */
    }
    text_bytes = strtoul(argv[2], NULL, 10);
    memset(text, 'x', text_bytes < sizeof(text) ? text_bytes : sizeof(text) - 1);
    turns = (unsigned)strtoul(argv[3], NULL, 10);
    tool = argv[4];
    input = argv[5];
    hold = argc > 6;
    listener = listen_on(argv[1]);
    event.data.ptr = NULL;
    epoll_ctl(loop, EPOLL_CTL_ADD, listener, &event);
    event.data.ptr = &event; /* standard input */
    (void)epoll_ctl(loop, EPOLL_CTL_ADD, STDIN_FILENO, &event);
    while (true) {
        int n = epoll_wait(loop, events, 256, -1);

        for (int i = 0; i < n; i++) {
            struct peer *peer = events[i].data.ptr;
            int fd;

            if (events[i].data.ptr == &event)
                return 0;
            if (peer) {
                if (!take(peer)) {
                    close(peer->fd);
                    free(peer->in);
                    free(peer);
                }
                continue;
            }
            fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
            peer = fd < 0 ? NULL : calloc(1, sizeof(*peer));
            if (!peer)
                continue;
            peer->fd = fd;
            setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
            epoll_ctl(loop, EPOLL_CTL_ADD, fd,
                      &(struct epoll_event){.events = EPOLLIN, .data.ptr = peer});
        }
    }
}
