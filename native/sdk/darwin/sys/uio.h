/* Darwin's <sys/uio.h>, as far as this project uses it. */
#ifndef SYS_UIO_H
#define SYS_UIO_H

#include <stddef.h>

struct iovec {
	void *iov_base;
	size_t iov_len;
};

#endif
