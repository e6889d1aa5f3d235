/* Darwin's errno.h: what this project uses, declared by itself (xnu, bsd/sys/errno.h). */
#ifndef ERRNO_H
#define ERRNO_H

int *__error(void);
#define errno (*__error())

#define EBADF 9
#define ENOMEM 12
#define EINVAL 22
#define EMFILE 24

#endif
