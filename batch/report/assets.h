/*
 * assets.h - style and script of report.html, as the files beside this one say
 */
#ifndef NJ_REPORT_ASSETS_H
#define NJ_REPORT_ASSETS_H

#include "formats/base/buf.h"

struct nj_span nj_asset_style(void);
struct nj_span nj_asset_script(void);

#endif
