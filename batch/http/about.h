/*
 * about.h - what the HTTP client of this host can do: for `nightjar doctor`
 */
#ifndef NJ_HTTP_ABOUT_H
#define NJ_HTTP_ABOUT_H

#include <stdbool.h>

struct nj_http_about {
    char text[200];        /* "libcurl 7.88.1, OpenSSL/3.0.19, HTTP/2" */
    bool tls;              /* https at all */
    bool names_are_beside; /* names are looked up without holding up the loop */
    char trust_file[256];  /* the certificate authorities it believes by itself */
};

void nj_http_about(struct nj_http_about *ret_about);

#endif
