/* Darwin's fcntl.h: what this project uses, declared by itself (xnu, bsd/sys/fcntl.h). */
#ifndef FCNTL_H
#define FCNTL_H

#define O_NONBLOCK 0x4
#define FD_CLOEXEC 1
#define F_SETFD 2
#define F_SETFL 4
#define F_DUPFD_CLOEXEC 67

int fcntl(int fd, int command, ...);

#endif
