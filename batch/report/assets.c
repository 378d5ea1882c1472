/*
 * assets.c - report.css and report.js in the program
 *
 * The assembler takes the bytes as they are: the files stay what editors and linters know.
 */
#include "batch/report/assets.h"

#include "formats/base/banned.h"

#define ASSET(name, file)                                                                          \
    __asm__(".pushsection .rodata\n"                                                               \
            ".global nj_asset_" #name "_first\n"                                                   \
            ".global nj_asset_" #name "_end\n"                                                     \
            "nj_asset_" #name "_first:\n"                                                          \
            ".incbin \"" NJ_ASSETS_FOLDER "/" file "\"\n"                                          \
            "nj_asset_" #name "_end:\n"                                                            \
            ".popsection\n");                                                                      \
    extern const uint8_t nj_asset_##name##_first[], nj_asset_##name##_end[]

ASSET(style, "report.css");
ASSET(script, "report.js");

struct nj_span nj_asset_style(void)
{
    return (struct nj_span){nj_asset_style_first,
                            (size_t)(nj_asset_style_end - nj_asset_style_first)};
}

struct nj_span nj_asset_script(void)
{
    return (struct nj_span){nj_asset_script_first,
                            (size_t)(nj_asset_script_end - nj_asset_script_first)};
}
