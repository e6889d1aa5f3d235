/* The table of interfaces, their bells and statistics: everything that is the same with every back end. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "interface.h"

/* macOS has no eventfd; the tests' fake of it is built with a pipe too. */
#if defined(__APPLE__) || defined(VMN_BELL_PIPE)
#define BELL_PIPE 1
#else
#define BELL_PIPE 0
#include <sys/eventfd.h>
#endif

#define EXPORT __attribute__((visibility("default")))
#define INTERFACES 64
#define SMALLEST_RING 4096u
#define LARGEST_RING (1u << 30)
#define DEFAULT_RING (1u << 20)
#define DEFAULT_TIMEOUT_MS 10000u

/* An id is a place in the table and, above it, how often the place was used: a stopped interface's id stays dead. */
static struct {
	struct interface *it;
	uint32_t uses;
	int taken;
} table[INTERFACES];
static pthread_mutex_t table_lock = PTHREAD_MUTEX_INITIALIZER;
#define USES_MASK 0xffffffu

static struct interface *find(int32_t id) {
	struct interface *it = NULL;
	if (id < 0) return NULL;
	pthread_mutex_lock(&table_lock);
	uint32_t place = (uint32_t)id % INTERFACES;
	if (table[place].uses == (uint32_t)id / INTERFACES) it = table[place].it;
	pthread_mutex_unlock(&table_lock);
	return it;
}

static int take_place(void) {
	int place = -EMFILE;
	pthread_mutex_lock(&table_lock);
	for (int i = 0; i < INTERFACES; i++) {
		if (table[i].taken) continue;
		table[i].taken = 1;
		table[i].uses = (table[i].uses + 1) & USES_MASK;
		place = i;
		break;
	}
	pthread_mutex_unlock(&table_lock);
	return place;
}

static void set_place(int place, struct interface *it, int taken) {
	pthread_mutex_lock(&table_lock);
	table[place].it = it;
	table[place].taken = taken;
	pthread_mutex_unlock(&table_lock);
}

#if BELL_PIPE
static int bell_open(struct interface *it) {
	if (pipe(it->bell) < 0) return -errno;
	for (int i = 0; i < BELL_ENDS; i++) {
		fcntl(it->bell[i], F_SETFD, FD_CLOEXEC);
		fcntl(it->bell[i], F_SETFL, O_NONBLOCK);
	}
	return 0;
}
#else
static int bell_open(struct interface *it) {
	it->bell[0] = it->bell[1] = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	return it->bell[0] < 0 ? -errno : 0;
}
#endif

static void bell_close(struct interface *it) {
	close(it->bell[0]);
	if (BELL_PIPE) close(it->bell[1]);
}

static void bell_ring(struct interface *it) {
	static const uint64_t one = 1;
	atomic_fetch_add_explicit(&it->rx->rung, 1, memory_order_relaxed);
	count(it, VMN_BELLS, 1);
	/* a bell that is full has been rung already */
	if (write(it->bell[1], &one, sizeof one) < 0) return;
}

void interface_received(struct interface *it, uint32_t at, uint32_t length) {
	count(it, VMN_RX_FRAMES, 1);
	count(it, VMN_RX_OCTETS, length);
	if (ring_commit(it->rx, at, length)) bell_ring(it);
}

void interface_lost(struct interface *it) {
	count(it, VMN_RX_DROPPED, 1);
	atomic_fetch_add_explicit(&it->rx->dropped, 1, memory_order_relaxed);
}

void interface_copy_received(struct interface *it, const void *frame, uint32_t length) {
	uint32_t at;
	uint8_t *place = ring_reserve(it->rx, length, &at);
	if (place == NULL) {
		interface_lost(it);
		return;
	}
	memcpy(place, frame, length);
	interface_received(it, at, length);
}

void interface_ended(struct interface *it, int32_t why) {
	atomic_store(&it->rx->status, why);
	bell_ring(it);
}

EXPORT uint32_t vmn_abi(void) {
	return VMN_ABI;
}

EXPORT int32_t vmn_caps(char *out, uint32_t cap) {
	struct text text = text_begin(out, cap);
	return backend_caps(&text);
}

EXPORT int32_t vmn_shared_ifs(char *out, uint32_t cap) {
	struct text text = text_begin(out, cap);
	return backend_shared_ifs(&text);
}

static int ring_begin(struct vmn_ring *ring, uint32_t size) {
	if (ring == NULL || (uintptr_t)ring % 64 != 0) return -EINVAL;
	if (size < SMALLEST_RING || size > LARGEST_RING || (size & (size - 1)) != 0) return -EINVAL;
	memset(ring, 0, VMN_RING_HEADER);
	ring->size = size;
	return 0;
}

EXPORT int32_t vmn_start(const char *text, uint32_t len, void *rx, void *tx, char *out, uint32_t cap) {
	struct conf conf = {text, len};
	struct text facts = text_begin(out, cap);
	int place = take_place(), result;
	if (place < 0) return place;
	struct interface *it = calloc(1, sizeof *it);
	if (it == NULL) {
		result = -ENOMEM;
		goto no_interface;
	}
	it->rx = rx;
	it->tx = tx;
	it->timeout_ms = conf_number(&conf, "timeout_ms", DEFAULT_TIMEOUT_MS);
	result = ring_begin(it->rx, conf_number(&conf, "rx", DEFAULT_RING));
	if (result == 0) result = ring_begin(it->tx, conf_number(&conf, "tx", DEFAULT_RING));
	if (result < 0) {
		text_put(&facts, "step", "rings");
		goto no_bell;
	}
	result = bell_open(it);
	if (result < 0) {
		text_put(&facts, "step", "bell");
		goto no_bell;
	}
	result = backend_start(it, &conf, &facts);
	if (result == 0) {
		set_place(place, it, 1);
		return (int32_t)(table[place].uses * INTERFACES + (uint32_t)place);
	}
	bell_close(it);
no_bell:
	free(it);
no_interface:
	set_place(place, NULL, 0);
	return result;
}

EXPORT int32_t vmn_bell(int32_t id) {
	struct interface *it = find(id);
	return it == NULL ? -EBADF : it->bell[0];
}

EXPORT int32_t vmn_tx(int32_t id) {
	struct interface *it = find(id);
	return it == NULL ? -EBADF : backend_tx(it);
}

EXPORT int32_t vmn_stats(int32_t id, uint64_t out[VMN_STATS]) {
	struct interface *it = find(id);
	if (it == NULL) return -EBADF;
	for (int i = 0; i < VMN_STATS; i++) out[i] = atomic_load_explicit(&it->stats[i], memory_order_relaxed);
	return 0;
}

EXPORT int32_t vmn_stop(int32_t id) {
	struct interface *it = find(id);
	if (it == NULL) return -EBADF;
	int32_t result = backend_stop(it);
	if (result < 0) return result;
	bell_close(it);
	set_place(id % INTERFACES, NULL, 0);
	free(it);
	return 0;
}
