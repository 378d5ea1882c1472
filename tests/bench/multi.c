/*
 * multi.c - libcurl's multi interface and nothing else: so many calls, so many in flight
 *
 * usage: multi URL CALLS IN-FLIGHT BODY-FILE
 *
 * Prints calls a second. curl_multi_socket_action() over epoll, handles used again, answers thrown
 * away as they come: what a program pays that only wants the bytes.
 */
#include <curl/curl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <time.h>

static int loop;
static long wait_ms = -1;

static size_t drop(char *data, size_t size, size_t count, void *ctx)
{
    (void)data;
    *(size_t *)ctx += size * count;
    return size * count;
}

static int on_timer(CURLM *multi, long timeout_ms, void *ctx)
{
    (void)multi;
    (void)ctx;
    wait_ms = timeout_ms;
    return 0;
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *ctx, void *known)
{
    struct epoll_event event = {.events = (what & CURL_POLL_IN ? EPOLLIN : 0u) |
                                          (what & CURL_POLL_OUT ? EPOLLOUT : 0u),
                                .data.fd = fd};

    (void)easy;
    if (what == CURL_POLL_REMOVE)
        return epoll_ctl(loop, EPOLL_CTL_DEL, fd, &event);
    curl_multi_assign(ctx, fd, ctx);
    return epoll_ctl(loop, known ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &event);
}

static double now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
    static char body[1 << 20];
    struct epoll_event events[256];
    size_t len, received = 0;
    long calls, in_flight, begun = 0, ended = 0, bad = 0;
    struct curl_slist *headers = NULL;
    CURLM *multi = curl_multi_init();
    double start;
    FILE *file;
    int running;

    if (argc != 5 || !multi || !(file = fopen(argv[4], "r")))
        return 2;
    len = fread(body, 1, sizeof(body), file);
    fclose(file);
    calls = strtol(argv[2], NULL, 10);
    in_flight = strtol(argv[3], NULL, 10);
    headers = curl_slist_append(headers, "content-type: application/json");
    headers = curl_slist_append(headers, "anthropic-version: 2023-06-01");
    headers = curl_slist_append(headers, "Expect:");
    loop = epoll_create1(0);
    curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    curl_multi_setopt(multi, CURLMOPT_SOCKETDATA, multi);
    curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, on_timer);
    curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS, 256L);
    start = now();
    for (; begun < in_flight; begun++) {
        CURL *easy = curl_easy_init();

        curl_easy_setopt(easy, CURLOPT_URL, argv[1]);
        curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE, (long)len);
        curl_easy_setopt(easy, CURLOPT_POSTFIELDS, body);
        curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers);
        curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, drop);
        curl_easy_setopt(easy, CURLOPT_WRITEDATA, &received);
        curl_easy_setopt(easy, CURLOPT_PROXY, "");
        curl_multi_add_handle(multi, easy);
    }
    while (ended < calls) {
        int n = epoll_wait(loop, events, 256, wait_ms < 0 ? 1000 : (int)wait_ms), left;
        CURLMsg *message;

        if (n <= 0) {
            wait_ms = -1;
            curl_multi_socket_action(multi, CURL_SOCKET_TIMEOUT, 0, &running);
        }
        for (int i = 0; i < n; i++)
            curl_multi_socket_action(
                multi, events[i].data.fd,
                (events[i].events & EPOLLOUT ? CURL_CSELECT_OUT : 0) |
                    (events[i].events & ~(unsigned)EPOLLOUT ? CURL_CSELECT_IN : 0),
                &running);
        while ((message = curl_multi_info_read(multi, &left))) {
            CURL *easy = message->easy_handle;
            long status = 0;

            curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
            bad += message->data.result != CURLE_OK || status != 200;
            ended++;
            curl_multi_remove_handle(multi, easy);
            if (begun < calls) {
                curl_multi_add_handle(multi, easy);
                begun++;
            }
        }
    }
    if (bad > 0 || received == 0) {
        fprintf(stderr, "multi: %ld of %ld calls failed\n", bad, calls);
        return 1;
    }
    printf("%.0f\n", (double)calls / (now() - start));
    return 0;
}
