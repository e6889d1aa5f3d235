/* Grand Central Dispatch for the tests: each serial queue is a thread. */
#include <dispatch/dispatch.h>

#include <Block.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

struct job {
	struct job *next;
	dispatch_block_t block; /* NULL: the queue ends */
	int *done;              /* of dispatch_sync */
};

struct dispatch_queue_s {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct job *first, **end;
};

static void *run(void *argument) {
	struct dispatch_queue_s *queue = argument;
	for (;;) {
		pthread_mutex_lock(&queue->lock);
		while (queue->first == NULL) pthread_cond_wait(&queue->changed, &queue->lock);
		struct job *job = queue->first;
		queue->first = job->next;
		if (queue->first == NULL) queue->end = &queue->first;
		pthread_mutex_unlock(&queue->lock);
		if (job->block == NULL) {
			free(job);
			break;
		}
		job->block();
		if (job->done != NULL) {
			pthread_mutex_lock(&queue->lock);
			*job->done = 1;
			pthread_cond_broadcast(&queue->changed);
			pthread_mutex_unlock(&queue->lock);
		} else {
			Block_release(job->block);
		}
		free(job);
	}
	pthread_cond_destroy(&queue->changed);
	pthread_mutex_destroy(&queue->lock);
	free(queue);
	return NULL;
}

dispatch_queue_t dispatch_queue_create(const char *label, dispatch_queue_attr_t attributes) {
	(void)label;
	(void)attributes;
	struct dispatch_queue_s *queue = calloc(1, sizeof *queue);
	pthread_t thread;
	queue->end = &queue->first;
	pthread_mutex_init(&queue->lock, NULL);
	pthread_cond_init(&queue->changed, NULL);
	pthread_create(&thread, NULL, run, queue);
	pthread_detach(thread);
	return queue;
}

/* The lock is held. */
static void append(dispatch_queue_t queue, dispatch_block_t block, int *done) {
	struct job *job = calloc(1, sizeof *job);
	job->block = block;
	job->done = done;
	*queue->end = job;
	queue->end = &job->next;
	pthread_cond_broadcast(&queue->changed);
}

void dispatch_async(dispatch_queue_t queue, dispatch_block_t block) {
	block = Block_copy(block);
	pthread_mutex_lock(&queue->lock);
	append(queue, block, NULL);
	pthread_mutex_unlock(&queue->lock);
}

void dispatch_sync(dispatch_queue_t queue, dispatch_block_t block) {
	int done = 0;
	pthread_mutex_lock(&queue->lock);
	append(queue, block, &done);
	while (!done) pthread_cond_wait(&queue->changed, &queue->lock);
	pthread_mutex_unlock(&queue->lock);
}

void dispatch_release(dispatch_queue_t queue) {
	pthread_mutex_lock(&queue->lock);
	append(queue, NULL, NULL);
	pthread_mutex_unlock(&queue->lock);
}
