/* Darwin's <stdlib.h>, as far as this project uses it. */
#ifndef STDLIB_H
#define STDLIB_H

#include <stddef.h>

void abort(void) __attribute__((noreturn));
void *calloc(size_t count, size_t size);
void free(void *memory);
long strtol(const char *text, char **end, int base);

#endif
