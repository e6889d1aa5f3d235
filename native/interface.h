/* One interface, as the core and its back end see it. */
#ifndef INTERFACE_H
#define INTERFACE_H

#include <pthread.h>
#include <stdatomic.h>

#include "ring.h"
#include "text.h"
#include "vmn.h"

/* The largest frame that segmentation offloading makes: 64 KiB of IPv4 with an Ethernet header. */
#define LARGEST_FRAME 65550u
#define VIRTIO_HEADER 12u
#define BELL_ENDS 2

struct interface {
	struct vmn_ring *rx, *tx;
	int bell[BELL_ENDS]; /* to read, to ring: the same descriptor where the system has eventfd */
	_Atomic uint64_t stats[VMN_STATS];
	uint32_t timeout_ms;
	void *own; /* the back end's */
};

static inline void count(struct interface *it, int what, uint64_t more) {
	atomic_fetch_add_explicit(&it->stats[what], more, memory_order_relaxed);
}

/* Called by the one thread that fills the receive ring: */
void interface_received(struct interface *it, uint32_t at, uint32_t length); /* a reserved place was filled */
void interface_copy_received(struct interface *it, const void *frame, uint32_t length);
void interface_lost(struct interface *it); /* a frame that found no room */
/* Nothing will come any more, and why: a negative result of the ABI. */
void interface_ended(struct interface *it, int32_t why);

/*
 * The back end of this build: be_tap.c or be_vmnet.c. `start` fills `own` and the facts, and names the step that failed;
 * it may call interface_* until `stop` has returned 0.
 */
int32_t backend_caps(struct text *out);
int32_t backend_shared_ifs(struct text *out);
int32_t backend_start(struct interface *it, const struct conf *conf, struct text *out);
int32_t backend_tx(struct interface *it);
int32_t backend_stop(struct interface *it);

#endif
