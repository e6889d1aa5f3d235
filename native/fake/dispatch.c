/* Grand Central Dispatch for Linux, as far as this project uses it: a serial queue is a thread of its own. */
#include <dispatch/dispatch.h>

#include <Block.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "fake.h"

/* Both kinds begin alike, so that dispatch_release can tell them apart. */
struct object {
	enum { QUEUE, SEMAPHORE } kind;
	atomic_int references;
};

struct task {
	struct task *next;
	dispatch_block_t block;
};

struct dispatch_queue_s {
	struct object object;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct task *first, **last;
	int closing;
};

struct dispatch_semaphore_s {
	struct object object;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	intptr_t value;
};

atomic_int fake_queues, fake_semaphores;

static void free_queue(struct dispatch_queue_s *queue) {
	pthread_mutex_destroy(&queue->lock);
	pthread_cond_destroy(&queue->changed);
	free(queue);
	atomic_fetch_sub(&fake_queues, 1);
}

static void *run(void *of) {
	struct dispatch_queue_s *queue = of;
	pthread_mutex_lock(&queue->lock);
	for (;;) {
		while (queue->first == NULL && !queue->closing) pthread_cond_wait(&queue->changed, &queue->lock);
		struct task *task = queue->first;
		if (task == NULL) break;
		queue->first = task->next;
		if (queue->first == NULL) queue->last = &queue->first;
		pthread_mutex_unlock(&queue->lock);
		task->block();
		Block_release(task->block);
		free(task);
		pthread_mutex_lock(&queue->lock);
	}
	pthread_mutex_unlock(&queue->lock);
	free_queue(queue);
	return NULL;
}

dispatch_queue_t dispatch_queue_create(const char *label, dispatch_queue_attr_t attributes) {
	(void)label;
	(void)attributes;
	pthread_t thread;
	struct dispatch_queue_s *queue = calloc(1, sizeof *queue);
	queue->object.kind = QUEUE;
	queue->object.references = 1;
	queue->last = &queue->first;
	pthread_mutex_init(&queue->lock, NULL);
	pthread_cond_init(&queue->changed, NULL);
	atomic_fetch_add(&fake_queues, 1);
	pthread_create(&thread, NULL, run, queue);
	pthread_detach(thread);
	return queue;
}

void dispatch_async(dispatch_queue_t queue, dispatch_block_t block) {
	struct task *task = calloc(1, sizeof *task);
	task->block = Block_copy(block);
	pthread_mutex_lock(&queue->lock);
	*queue->last = task;
	queue->last = &task->next;
	pthread_cond_signal(&queue->changed);
	pthread_mutex_unlock(&queue->lock);
}

void dispatch_sync(dispatch_queue_t queue, dispatch_block_t block) {
	dispatch_semaphore_t done = dispatch_semaphore_create(0);
	dispatch_async(queue, ^{
		block();
		dispatch_semaphore_signal(done);
	});
	dispatch_semaphore_wait(done, DISPATCH_TIME_FOREVER);
	dispatch_release(done);
}

/* macOS measures its timeouts so, too: by a clock that nobody sets. */
static void condition_init(pthread_cond_t *condition) {
	pthread_condattr_t attributes;
	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(condition, &attributes);
	pthread_condattr_destroy(&attributes);
}

dispatch_semaphore_t dispatch_semaphore_create(intptr_t value) {
	struct dispatch_semaphore_s *semaphore = calloc(1, sizeof *semaphore);
	semaphore->object.kind = SEMAPHORE;
	semaphore->object.references = 1;
	semaphore->value = value;
	pthread_mutex_init(&semaphore->lock, NULL);
	condition_init(&semaphore->changed);
	atomic_fetch_add(&fake_semaphores, 1);
	return semaphore;
}

intptr_t dispatch_semaphore_signal(dispatch_semaphore_t semaphore) {
	/* whoever it wakes may release it at once */
	dispatch_retain(semaphore);
	pthread_mutex_lock(&semaphore->lock);
	semaphore->value++;
	pthread_cond_signal(&semaphore->changed);
	pthread_mutex_unlock(&semaphore->lock);
	dispatch_release(semaphore);
	return 0;
}

intptr_t dispatch_semaphore_wait(dispatch_semaphore_t semaphore, dispatch_time_t until) {
	struct timespec limit = {(time_t)(until / 1000000000ull), (long)(until % 1000000000ull)};
	int result = 0;
	pthread_mutex_lock(&semaphore->lock);
	while (semaphore->value == 0 && result != ETIMEDOUT)
		result = until == DISPATCH_TIME_FOREVER ? pthread_cond_wait(&semaphore->changed, &semaphore->lock)
												: pthread_cond_timedwait(&semaphore->changed, &semaphore->lock, &limit);
	int got = semaphore->value > 0;
	if (got) semaphore->value--;
	pthread_mutex_unlock(&semaphore->lock);
	return got ? 0 : -1;
}

dispatch_time_t dispatch_time(dispatch_time_t from, int64_t nanoseconds) {
	struct timespec now;
	if (from != DISPATCH_TIME_NOW) return from + (uint64_t)nanoseconds;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000ull + (uint64_t)now.tv_nsec + (uint64_t)nanoseconds;
}

static void release_queue(struct dispatch_queue_s *queue) {
	pthread_mutex_lock(&queue->lock);
	queue->closing = 1;
	pthread_cond_signal(&queue->changed);
	pthread_mutex_unlock(&queue->lock);
}

static void free_semaphore(struct dispatch_semaphore_s *semaphore) {
	pthread_mutex_destroy(&semaphore->lock);
	pthread_cond_destroy(&semaphore->changed);
	free(semaphore);
	atomic_fetch_sub(&fake_semaphores, 1);
}

void dispatch_retain(dispatch_object_t any) {
	atomic_fetch_add(&((struct object *)any.queue)->references, 1);
}

void dispatch_release(dispatch_object_t any) {
	struct object *object = (struct object *)any.queue;
	if (atomic_fetch_sub(&object->references, 1) != 1) return;
	if (object->kind == QUEUE) release_queue(any.queue);
	else free_semaphore(any.semaphore);
}
