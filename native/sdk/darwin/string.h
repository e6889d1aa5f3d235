/* Darwin's string.h: what this project uses, declared by itself. */
#ifndef STRING_H
#define STRING_H

#include <stddef.h>

void *memchr(const void *memory, int octet, size_t size);
int memcmp(const void *a, const void *b, size_t size);
void *memcpy(void *to, const void *from, size_t size);
void *memset(void *to, int octet, size_t size);
int strcmp(const char *a, const char *b);
size_t strlen(const char *text);
int strncmp(const char *a, const char *b, size_t size);

#endif
