/* Darwin's pthread.h: what this project uses, declared by itself (libpthread, sys/_pthread/_pthread_types.h). */
#ifndef PTHREAD_H
#define PTHREAD_H

typedef struct {
	long sig;
	char opaque[56];
} pthread_mutex_t;
typedef struct pthread_mutexattr pthread_mutexattr_t;

int pthread_mutex_init(pthread_mutex_t *mutex, const pthread_mutexattr_t *attributes);
int pthread_mutex_destroy(pthread_mutex_t *mutex);
int pthread_mutex_lock(pthread_mutex_t *mutex);
int pthread_mutex_unlock(pthread_mutex_t *mutex);

#endif
