/* Darwin's <unistd.h>, as far as this project uses it. */
#ifndef UNISTD_H
#define UNISTD_H

#include <sys/types.h>

#ifndef SDK_CHECK
#define F_OK 0
#endif

int access(const char *path, int mode);
int close(int fd);
int pipe(int ends[2]);
ssize_t write(int fd, const void *octets, size_t length);

#endif
