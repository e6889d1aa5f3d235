/* Darwin's <sys/types.h>, as far as this project uses it (LP64). */
#ifndef SYS_TYPES_H
#define SYS_TYPES_H

#include <stddef.h>

#ifndef SDK_CHECK
typedef long ssize_t;
#endif

#endif
