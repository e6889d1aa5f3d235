/* Darwin's stdio.h: what this project uses, declared by itself. */
#ifndef STDIO_H
#define STDIO_H

#include <stddef.h>

int snprintf(char *memory, size_t size, const char *format, ...) __attribute__((format(printf, 3, 4)));

#endif
