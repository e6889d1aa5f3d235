/* Darwin's <pthread.h>, as far as this project uses it (libpthread, include/sys/_pthread/_pthread_types.h; LP64). */
#ifndef PTHREAD_H
#define PTHREAD_H

#ifndef SDK_CHECK
typedef struct {
	long signature;
	char opaque[56];
} pthread_mutex_t;

#define PTHREAD_MUTEX_INITIALIZER {0x32AAABA7, {0}}

typedef struct pthread_mutexattr pthread_mutexattr_t;
#endif

int pthread_mutex_init(pthread_mutex_t *mutex, const pthread_mutexattr_t *attributes);
int pthread_mutex_destroy(pthread_mutex_t *mutex);
int pthread_mutex_lock(pthread_mutex_t *mutex);
int pthread_mutex_unlock(pthread_mutex_t *mutex);

#endif
