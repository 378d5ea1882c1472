/*
 * banned.h - functions that have no length or no thread safety; the last include of every .c
 */
#ifndef NJ_BASE_BANNED_H
#define NJ_BASE_BANNED_H

#pragma GCC poison strcpy strcat sprintf vsprintf strtok gets strncpy strncat
#pragma GCC poison atoi atol atoll mktemp tmpnam asctime ctime gmtime localtime

#endif
