/*
 * about.c - what the HTTP client of this host can do
 */
#include "batch/http/about.h"

#include <curl/curl.h>
#include <stdio.h>

#include "formats/base/banned.h"

void nj_http_about(struct nj_http_about *ret_about)
{
    const curl_version_info_data *info = curl_version_info(CURLVERSION_NOW);
    const char *file = info->age >= CURLVERSION_SEVENTH ? info->cainfo : NULL;

    ret_about->tls = (info->features & CURL_VERSION_SSL) != 0;
    ret_about->names_are_beside = (info->features & CURL_VERSION_ASYNCHDNS) != 0;
    (void)snprintf(ret_about->text, sizeof(ret_about->text), "libcurl %.40s, %.60s%s",
                   info->version, info->ssl_version ? info->ssl_version : "no TLS",
                   info->features & CURL_VERSION_HTTP2 ? ", HTTP/2" : "");
    (void)snprintf(ret_about->trust_file, sizeof(ret_about->trust_file), "%.250s",
                   file ? file : "/etc/ssl/certs/ca-certificates.crt");
}
