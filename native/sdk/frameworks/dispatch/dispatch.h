/* Grand Central Dispatch: the calls that this project uses, declared by itself. */
#ifndef LIMANET_DISPATCH_H
#define LIMANET_DISPATCH_H

#include <stdint.h>

/* native/sdk/check.c reads this behind Apple's own header: then the types are Apple's, and prototypes must agree. */
#ifndef SDK_CHECK
typedef struct dispatch_queue_s *dispatch_queue_t;
typedef struct dispatch_queue_attr_s *dispatch_queue_attr_t;
typedef struct dispatch_semaphore_s *dispatch_semaphore_t;
typedef union {
	dispatch_queue_t queue;
	dispatch_semaphore_t semaphore;
} dispatch_object_t __attribute__((transparent_union));
typedef uint64_t dispatch_time_t;
typedef void (^dispatch_block_t)(void);

#define DISPATCH_QUEUE_SERIAL ((dispatch_queue_attr_t)0)
#define DISPATCH_TIME_NOW 0ull
#define DISPATCH_TIME_FOREVER (~0ull)
#define NSEC_PER_MSEC 1000000ull
#endif

dispatch_queue_t dispatch_queue_create(const char *label, dispatch_queue_attr_t attributes);
void dispatch_async(dispatch_queue_t queue, dispatch_block_t block);
void dispatch_sync(dispatch_queue_t queue, dispatch_block_t block);
dispatch_semaphore_t dispatch_semaphore_create(intptr_t value);
intptr_t dispatch_semaphore_signal(dispatch_semaphore_t semaphore);
intptr_t dispatch_semaphore_wait(dispatch_semaphore_t semaphore, dispatch_time_t until);
dispatch_time_t dispatch_time(dispatch_time_t from, int64_t nanoseconds);
void dispatch_retain(dispatch_object_t object);
void dispatch_release(dispatch_object_t object);

#endif
