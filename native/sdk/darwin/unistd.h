/* Darwin's unistd.h: what this project uses, declared by itself. */
#ifndef UNISTD_H
#define UNISTD_H

#include <stddef.h>

#define F_OK 0

int access(const char *path, int mode);
int close(int fd);
int pipe(int ends[2]);
long write(int fd, const void *octets, size_t size);

#endif
