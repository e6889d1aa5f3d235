/* Darwin's stdlib.h: what this project uses, declared by itself. */
#ifndef STDLIB_H
#define STDLIB_H

#include <stddef.h>

void *calloc(size_t count, size_t size);
void free(void *memory);
void abort(void) __attribute__((noreturn));
long strtol(const char *text, char **end, int base);

#endif
