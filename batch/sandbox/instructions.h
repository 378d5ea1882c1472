/*
 * instructions.h - does a program hold instructions that no kernel stands before?
 *
 * rdtsc reads the processor's own counter, rdrand and rdseed its own randomness: no clock or seed
 * of ours answers those. The executable segments of an ELF file are searched for them in the forms
 * in which compilers and assemblers write them, so with little doubt what is found is there. That
 * it is there does not say that it is executed: libcrypto holds all three and asks for the
 * processor's features first. What is made at run time is not seen.
 */
#ifndef NJ_SANDBOX_INSTRUCTIONS_H
#define NJ_SANDBOX_INSTRUCTIONS_H

#include <stdint.h>

#define NJ_HOLDS_RDTSC 1u
#define NJ_HOLDS_RDRAND 2u
#define NJ_HOLDS_RDSEED 4u
#define NJ_HOLDS_RANDOM_DEVICE 8u /* it names std::random_device, which prefers the last two */

#define NJ_INSTRUCTIONS 4u

/* nj_holds_word - of one of the above: "rdtsc", ... */
const char *nj_holds_word(unsigned holds);

/* nj_instructions_seek - what of the above the ELF file @fd holds in its first @max_bytes; 0 for
 * any other file, and where it cannot be read. Reads it once, in pieces; allocates nothing and has
 * one buffer, so one thread at a time. */
unsigned nj_instructions_seek(int fd, uint64_t max_bytes);

#endif
