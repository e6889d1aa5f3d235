/* Darwin's <sys/uio.h>, as far as this project uses it. */
#ifndef SYS_UIO_H
#define SYS_UIO_H

#include <stddef.h>

#ifndef SDK_CHECK
struct iovec {
	void *iov_base;
	size_t iov_len;
};
#endif

#endif
