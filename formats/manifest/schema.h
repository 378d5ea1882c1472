/*
 * schema.h - the JSON Schema (draft 7) of the manifest, for editors: nightjar-job.schema.json in
 * the program
 *
 * It is written by hand, for its descriptions are what a person reads, and cannot drift from the
 * parser: tests/unit/formats/manifest/test_schema.c holds each of its places against it. What a
 * schema cannot say (references, circles, what neighbours allow) is the parser's alone; what it
 * does say is never stricter than the parser.
 */
#ifndef NJ_MANIFEST_SCHEMA_H
#define NJ_MANIFEST_SCHEMA_H

#include "formats/base/buf.h"

struct nj_span nj_manifest_schema(void); /* for the life of the program */

#endif
