/* An answer that one of Apple's frameworks gives on a queue, some time, and a caller who waits for it only so long. */
#ifndef COMPLETION_H
#define COMPLETION_H

#include <dispatch/dispatch.h>
#include <stdint.h>

struct completion {
	dispatch_semaphore_t told;
	_Atomic int state;
	uint32_t status;
};

/* -ENOMEM or 0. */
int32_t completion_begin(struct completion *completion);
void completion_end(struct completion *completion);
/* The answer's side. False: the caller has given up, and what was begun is now the answer's to undo. */
int completion_tell(struct completion *completion, uint32_t status);
/* The caller's side: 0 when the answer has come, else -ETIMEDOUT; may be asked again. */
int32_t completion_wait(struct completion *completion, uint32_t milliseconds);
/* The answer has come and been taken: another may come. */
void completion_again(struct completion *completion);
/* The caller gives up. False: the answer has come at the last moment, and counts. */
int completion_give_up(struct completion *completion);

#endif
