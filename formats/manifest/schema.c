/*
 * schema.c - the bytes of nightjar-job.schema.json, as the assembler finds them
 */
#include "formats/manifest/schema.h"

#include "formats/base/banned.h"

__asm__(".pushsection .rodata\n"
        ".global nj_manifest_schema_first\n"
        ".global nj_manifest_schema_end\n"
        "nj_manifest_schema_first:\n"
        ".incbin \"" NJ_MANIFEST_FOLDER "/nightjar-job.schema.json\"\n"
        "nj_manifest_schema_end:\n"
        ".popsection\n");
extern const uint8_t nj_manifest_schema_first[], nj_manifest_schema_end[];

struct nj_span nj_manifest_schema(void)
{
    return (struct nj_span){nj_manifest_schema_first,
                            (size_t)(nj_manifest_schema_end - nj_manifest_schema_first)};
}
