/* The two ends of a ring (its layout is in vmn.h). */
#ifndef RING_H
#define RING_H

#include <stdatomic.h>
#include <stddef.h>
#include <string.h>

#include "vmn.h"

#define RECORD_HEADER 8u

static inline uint32_t record_size(uint32_t payload) {
	return (RECORD_HEADER + payload + 7u) & ~7u;
}

/* Records begin at multiples of 8, so there is always room for their header. */
static inline void put_length(struct vmn_ring *ring, uint32_t at, uint32_t length) {
	uint32_t words[2] = {length, 0};
	memcpy(ring->data + (at & (ring->size - 1)), words, sizeof words);
}

/*
 * Producer: a place for a payload of up to `most` octets, or NULL when there is none. A record that would not fit before
 * the end of the data begins at their start; nothing is seen by the consumer before ring_commit.
 */
static inline uint8_t *ring_reserve(struct vmn_ring *ring, uint32_t most, uint32_t *at) {
	uint32_t head = atomic_load_explicit(&ring->head, memory_order_relaxed);
	uint32_t tail = atomic_load_explicit(&ring->tail, memory_order_acquire);
	uint32_t room = ring->size - (head - tail);
	uint32_t to_end = ring->size - (head & (ring->size - 1));
	uint32_t need = record_size(most);
	if (most > ring->size || room > ring->size) return NULL;
	if (need > to_end) {
		if (need > room - (to_end < room ? to_end : room)) return NULL;
		put_length(ring, head, VMN_SKIP);
		head += to_end;
	} else if (need > room) {
		return NULL;
	}
	*at = head;
	return ring->data + (head & (ring->size - 1)) + RECORD_HEADER;
}

/* Producer: what was put at the reserved place becomes a record. True: the consumer sleeps, its bell must be rung. */
static inline int ring_commit(struct vmn_ring *ring, uint32_t at, uint32_t length) {
	put_length(ring, at, length);
	/* sequentially consistent like the consumer's "set armed, look again": one of the two sees the other's store */
	atomic_store(&ring->head, at + record_size(length));
	return atomic_load(&ring->armed) != 0 && atomic_exchange(&ring->armed, 0) != 0;
}

/* Consumer: the payload of the record at `*at`, which moves over a skip; NULL at the end or when the record is broken. */
static inline uint8_t *ring_at(struct vmn_ring *ring, uint32_t *at, uint32_t head, uint32_t *length) {
	while (*at != head) {
		uint32_t place = *at & (ring->size - 1), to_end = ring->size - place;
		memcpy(length, ring->data + place, sizeof *length);
		if (*length != VMN_SKIP) {
			uint32_t rest = head - *at < to_end ? head - *at : to_end;
			if (*length > rest || record_size(*length) > rest) return NULL;
			return ring->data + place + RECORD_HEADER;
		}
		if (to_end > head - *at) return NULL;
		*at += to_end;
	}
	return NULL;
}

#endif
