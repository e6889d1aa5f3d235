/* Darwin's <errno.h>, as far as this project uses it (xnu, bsd/sys/errno.h). */
#ifndef ERRNO_H
#define ERRNO_H

int *__error(void);
#ifndef SDK_CHECK
#define errno (*__error())

#define EINTR 4
#define EBADF 9
#define ENOMEM 12
#define EINVAL 22
#define EMFILE 24
#define EAGAIN 35
#define ENOTSUP 45
#define ETIMEDOUT 60
#define ENAMETOOLONG 63
#endif

#endif
