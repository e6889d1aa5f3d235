#include "completion.h"

#include <errno.h>
#include <stdatomic.h>

enum { PENDING, TOLD, GIVEN_UP };

int32_t completion_begin(struct completion *completion) {
	completion->told = dispatch_semaphore_create(0);
	return completion->told == NULL ? -ENOMEM : 0;
}

void completion_end(struct completion *completion) {
	if (completion->told != NULL) dispatch_release(completion->told);
	completion->told = NULL;
}

static int settle(struct completion *completion, int state) {
	int before = PENDING;
	return atomic_compare_exchange_strong(&completion->state, &before, state);
}

int completion_tell(struct completion *completion, uint32_t status) {
	completion->status = status;
	if (!settle(completion, TOLD)) return 0;
	dispatch_semaphore_signal(completion->told);
	return 1;
}

int32_t completion_wait(struct completion *completion, uint32_t milliseconds) {
	dispatch_time_t until = dispatch_time(DISPATCH_TIME_NOW, (int64_t)(milliseconds * NSEC_PER_MSEC));
	return dispatch_semaphore_wait(completion->told, until) == 0 ? 0 : -ETIMEDOUT;
}

void completion_again(struct completion *completion) {
	atomic_store(&completion->state, PENDING);
}

int completion_give_up(struct completion *completion) {
	if (settle(completion, GIVEN_UP)) return 1;
	/* the answer's side may still be signalling, and the semaphore goes next */
	dispatch_semaphore_wait(completion->told, DISPATCH_TIME_FOREVER);
	return 0;
}
