/*
 * vdso.c - the replacement vDSO's bytes, and the kernel's own
 *
 * The image goes into the program as the linker made it (image/).
 */
#include "batch/sandbox/virtual/virtual.h"

#include "formats/base/banned.h"

__asm__(".pushsection .rodata\n"
        ".balign 64\n"
        ".global nj_vdso_image\n"
        ".global nj_vdso_image_end\n"
        "nj_vdso_image:\n"
        ".incbin \"" NJ_VDSO_IMAGE "\"\n"
        "nj_vdso_image_end:\n"
        ".popsection\n");
