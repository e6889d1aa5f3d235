/* Darwin's <string.h>, as far as this project uses it. */
#ifndef STRING_H
#define STRING_H

#include <stddef.h>

void *memchr(const void *octets, int octet, size_t length);
int memcmp(const void *one, const void *other, size_t length);
void *memcpy(void *to, const void *from, size_t length);
void *memset(void *to, int octet, size_t length);
int strcmp(const char *one, const char *other);
size_t strlen(const char *text);
int strncmp(const char *one, const char *other, size_t length);

#endif
