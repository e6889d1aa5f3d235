/* Darwin's <fcntl.h>, as far as this project uses it (xnu, bsd/sys/fcntl.h). */
#ifndef FCNTL_H
#define FCNTL_H

#ifndef SDK_CHECK
#define F_SETFD 2
#define F_SETFL 4
#define F_DUPFD_CLOEXEC 67
#define FD_CLOEXEC 1
#define O_NONBLOCK 4
#endif

int fcntl(int fd, int command, ...);

#endif
