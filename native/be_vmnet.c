/*
 * The macOS back end: vmnet.framework (developer.apple.com/documentation/vmnet).
 *
 * One serial queue an interface: what vmnet tells (started, frames are there, stopped) comes one after the other, on a
 * thread of the system's. Frames are read there in batches and copied into the receive ring, which never makes the queue
 * wait. Frames to the host are written by the caller of vmn_tx, in batches, from where they lie in the transmit ring.
 */
#include <errno.h>
#include <stdlib.h>

#include "completion.h"
#include "interface.h"
#include "network.h"
#include "settings.h"

#define MOST_BATCH 64
/* with segments of 64 KiB */
#define MOST_LARGE_BATCH 16
/* what a call could carry before macOS 15, which says its limits by itself (and 200 frames, which is more than ours) */
#define OLD_BATCH_OCTETS (256u << 10)
#define ETHERNET_HEADER 14u
#define LARGE_FRAME 32768u
/* reads that fail one after the other: the interface is taken to be gone */
#define MOST_FAILURES 16u
/* vmnet_start_interface gave no interface: how long its reason may take */
#define REASON_MS 200u

struct batch {
	struct vmpktdesc packets[MOST_BATCH];
	struct iovec slots[MOST_BATCH];
	uint32_t most; /* packets a call */
};

struct vmnet {
	struct interface *it;
	dispatch_queue_t queue;
	interface_ref interface;
	vmnet_network_ref network; /* macOS 26, or NULL */
	xpc_object_t parameters;
	struct completion started, stopped;
	int is_stopping_asked;
	uint32_t failures; /* of reads, in a row */
	_Atomic int stopping;
	uint32_t header, largest; /* octets of the virtio header; of the largest frame with it */
	struct batch reads, writes;
	uint8_t *octets; /* of the frames that are read, `largest` each */
};

static int has_virtio_header(void) {
	return later_key("vmnet_enable_virtio_header_key") != NULL;
}

int32_t backend_caps(struct text *out) {
	text_put(out, "backend", "vmnet");
	text_put_number(out, "network_api", network_is_known());
	text_put_number(out, "virtio_header", has_virtio_header());
	text_put_number(out, "max_batch", MOST_BATCH);
	return 0;
}

int32_t backend_shared_ifs(struct text *out) {
	xpc_object_t names = vmnet_copy_shared_interface_list();
	if (names == NULL) return -VMNET_FAILURE;
	size_t count = xpc_array_get_count(names);
	for (size_t i = 0; i < count; i++) {
		const char *name = xpc_array_get_string(names, i);
		if (name != NULL) text_put_line(out, name);
	}
	xpc_release(names);
	return (int32_t)count;
}

/* vmnet_read leaves in the descriptors what it read last, and wants them as they were. */
static void make_room(struct vmnet *own) {
	for (uint32_t i = 0; i < own->reads.most; i++) {
		own->reads.slots[i] = (struct iovec){own->octets + (size_t)i * own->largest, own->largest};
		own->reads.packets[i] = (struct vmpktdesc){own->largest, &own->reads.slots[i], 1, 0};
	}
}

/* Whether a failed read was the last one: other failures may pass, unless they come again and again. */
static int is_end(struct vmnet *own, vmnet_return_t status) {
	return ++own->failures == MOST_FAILURES || status == VMNET_SETUP_INCOMPLETE || status == VMNET_INVALID_ACCESS ||
		status == VMNET_NOT_AUTHORIZED;
}

/* On the queue. Until there is nothing more: how many frames an event names is only an estimate. */
static void read_all(struct vmnet *own) {
	struct interface *it = own->it;
	for (int first = 1; !atomic_load_explicit(&own->stopping, memory_order_relaxed); first = 0) {
		int got = (int)own->reads.most;
		if (first) count(it, VMN_EVENTS, 1);
		make_room(own);
		vmnet_return_t status = vmnet_read(own->interface, own->reads.packets, &got);
		count(it, VMN_RX_READS, 1);
		if (status == VMNET_TOO_MANY_PACKETS && own->reads.most > 1) {
			own->reads.most /= 2;
			continue;
		}
		if (status != VMNET_SUCCESS) {
			if (!is_end(own, status)) return;
			atomic_store(&own->stopping, 1);
			interface_ended(it, -(int32_t)status);
			return;
		}
		own->failures = 0;
		if (got <= 0) return;
		for (int i = 0; i < got; i++) {
			size_t length = own->reads.packets[i].vm_pkt_size;
			if (length > own->largest) interface_lost(it);
			else interface_copy_received(it, own->reads.slots[i].iov_base, (uint32_t)length);
		}
	}
}

static void release(struct vmnet *own) {
	if (own->parameters != NULL) xpc_release(own->parameters);
	if (own->network != NULL) network_release(own->network);
	if (own->queue != NULL) dispatch_release(own->queue);
	completion_end(&own->started);
	completion_end(&own->stopped);
	free(own->octets);
	free(own);
}

/* On the queue: an interface that came up when nobody waited for it any more. */
static void discard(struct vmnet *own, vmnet_return_t status) {
	if (status != VMNET_SUCCESS || own->interface == NULL ||
		vmnet_stop_interface(own->interface, own->queue, ^(vmnet_return_t stopped) {
			(void)stopped;
			release(own);
		}) != VMNET_SUCCESS)
		release(own);
}

/* Without a result in time `own` is the block's, and *is_own says so. */
static int32_t start_interface(struct vmnet *own, xpc_object_t description, int *is_own) {
	void (^done)(vmnet_return_t, xpc_object_t) = ^(vmnet_return_t status, xpc_object_t parameters) {
		if (parameters != NULL) own->parameters = xpc_retain(parameters);
		if (!completion_tell(&own->started, status)) discard(own, status);
	};
	own->interface = own->network == NULL ? vmnet_start_interface(description, own->queue, done)
										  : network_start_interface(own->network, description, own->queue, done);
	int has_interface = own->interface != NULL;
	int32_t result = completion_wait(&own->started, has_interface ? own->it->timeout_ms : REASON_MS);
	*is_own = result == 0 || !completion_give_up(&own->started);
	if (!*is_own) return has_interface ? result : -VMNET_FAILURE;
	if (own->started.status != VMNET_SUCCESS) return -(int32_t)own->started.status;
	return has_interface && own->parameters != NULL ? 0 : -VMNET_FAILURE;
}

static uint32_t batch_limit(xpc_object_t parameters, const char *name, uint32_t largest) {
	const char *key = later_key(name);
	uint64_t told = key == NULL ? 0 : xpc_dictionary_get_uint64(parameters, key);
	uint64_t most = told != 0 ? told : OLD_BATCH_OCTETS / largest;
	uint32_t ours = largest > LARGE_FRAME ? MOST_LARGE_BATCH : MOST_BATCH;
	return most < ours ? (uint32_t)most : ours;
}

static int32_t make_batches(struct vmnet *own) {
	uint64_t largest = xpc_dictionary_get_uint64(own->parameters, vmnet_max_packet_size_key);
	if (largest < ETHERNET_HEADER || largest > LARGEST_FRAME) return -VMNET_FAILURE;
	own->largest = (uint32_t)largest + own->header;
	own->reads.most = batch_limit(own->parameters, "vmnet_read_max_packets_key", own->largest);
	own->writes.most = batch_limit(own->parameters, "vmnet_write_max_packets_key", own->largest);
	own->octets = calloc(own->reads.most, own->largest);
	return own->octets == NULL ? -ENOMEM : 0;
}

static int32_t listen_for_frames(struct vmnet *own) {
	vmnet_return_t status = vmnet_interface_set_event_callback(own->interface, VMNET_INTERFACE_PACKETS_AVAILABLE,
		own->queue, ^(interface_event_t events, xpc_object_t event) {
			(void)events;
			(void)event;
			read_all(own);
		});
	return status == VMNET_SUCCESS ? 0 : -(int32_t)status;
}

/* From the queue, so that no read is under way and none follows. */
static void ask_to_stop(struct vmnet *own) {
	dispatch_async(own->queue, ^{
		vmnet_interface_set_event_callback(own->interface, VMNET_INTERFACE_PACKETS_AVAILABLE, NULL, NULL);
		vmnet_return_t status = vmnet_stop_interface(own->interface, own->queue, ^(vmnet_return_t stopped) {
			/* whatever it says, the interface is no longer to be used */
			(void)stopped;
			completion_tell(&own->stopped, VMNET_SUCCESS);
		});
		if (status != VMNET_SUCCESS) completion_tell(&own->stopped, status);
	});
}

/* The time limit counts anew at each call; the interface is gone when this has said 0. */
static int32_t stop_interface(struct vmnet *own, uint32_t milliseconds) {
	atomic_store(&own->stopping, 1);
	if (!own->is_stopping_asked) ask_to_stop(own);
	own->is_stopping_asked = 1;
	int32_t result = completion_wait(&own->stopped, milliseconds);
	if (result < 0 || own->stopped.status == VMNET_SUCCESS) return result;
	own->is_stopping_asked = 0;
	completion_again(&own->stopped);
	return -(int32_t)own->stopped.status;
}

static void put_facts(struct vmnet *own, struct text *out) {
	settings_tell(own->parameters, out);
	text_put_number(out, "max_packet", own->largest - own->header);
	text_put_number(out, "header", own->header);
	text_put_number(out, "read_batch", own->reads.most);
	text_put_number(out, "write_batch", own->writes.most);
}

/* A network of macOS 26 is made only for what nothing else can do: bridged and named networks have no DHCP anyway. */
static int wants_network(const struct conf *conf) {
	char identifier[SETTING_SIZE];
	if (setting_mode(conf) == VMNET_BRIDGED_MODE) return 0;
	if (conf_text(conf, "identifier", identifier, sizeof identifier) != 0) return 0;
	return conf_number(conf, "dhcp", 1) == 0 || conf_number(conf, "net_mtu", 0) != 0;
}

static int32_t start(struct vmnet *own, const struct conf *conf, const char **step, int *is_own) {
	int32_t result = 0;
	*step = "memory";
	own->queue = dispatch_queue_create("limanet.vmnet", DISPATCH_QUEUE_SERIAL);
	if (own->queue == NULL || completion_begin(&own->started) < 0 || completion_begin(&own->stopped) < 0) return -ENOMEM;
	own->header = conf_number(conf, "offload", 0) != 0 && has_virtio_header() ? VIRTIO_HEADER : 0;
	xpc_object_t description = settings_describe(conf, own->header != 0, step);
	if (description == NULL) return -EINVAL;
	*step = "network";
	if (wants_network(conf)) own->network = network_create(conf, own->it->timeout_ms, &result);
	if (result == 0) {
		*step = "start";
		result = start_interface(own, description, is_own);
	}
	xpc_release(description);
	if (result < 0) return result;
	*step = "max_packet";
	result = make_batches(own);
	if (result == 0) {
		*step = "events";
		result = listen_for_frames(own);
	}
	/* an interface that cannot be stopped either is left to the system */
	if (result < 0 && stop_interface(own, own->it->timeout_ms) < 0) *is_own = 0;
	return result;
}

int32_t backend_start(struct interface *it, const struct conf *conf, struct text *out) {
	int is_own = 1;
	const char *step = "memory";
	struct vmnet *own = calloc(1, sizeof *own);
	int32_t result = -ENOMEM;
	if (own == NULL) goto failed;
	own->it = it;
	it->own = own;
	result = start(own, conf, &step, &is_own);
	if (result == 0) {
		put_facts(own, out);
		return 0;
	}
	if (is_own) release(own);
failed:
	text_put(out, "step", step);
	return result;
}

/* Takes up to a batch of records that begin at `*at`, leaving out what no Ethernet frame can be. */
static int gather(struct vmnet *own, uint32_t *at, uint32_t head) {
	uint32_t length, n = 0;
	uint8_t *frame;
	while (n < own->writes.most && (frame = ring_at(own->it->tx, at, head, &length)) != NULL) {
		*at += record_size(length);
		if (length < own->header + ETHERNET_HEADER || length > own->largest) {
			count(own->it, VMN_TX_DROPPED, 1);
			continue;
		}
		own->writes.slots[n] = (struct iovec){frame, length};
		own->writes.packets[n] = (struct vmpktdesc){length, &own->writes.slots[n], 1, 0};
		n++;
	}
	return (int)n;
}

/* One frame, or that it was offered with others, is what the system does not like: fewer may go. */
static int is_refused(vmnet_return_t status) {
	return status == VMNET_INVALID_ARGUMENT || status == VMNET_PACKET_TOO_BIG || status == VMNET_TOO_MANY_PACKETS;
}

/* Writes a gathered batch; how many frames went. No frame is offered twice after the system had no room for it. */
static int32_t write_batch(struct vmnet *own, int n) {
	struct interface *it = own->it;
	int32_t sent = 0;
	for (int at = 0, most = n; at < n;) {
		int offered = n - at < most ? n - at : most, taken = offered;
		vmnet_return_t status = vmnet_write(own->interface, own->writes.packets + at, &taken);
		count(it, VMN_TX_WRITES, 1);
		if (is_refused(status)) {
			if (status == VMNET_TOO_MANY_PACKETS && offered > 1) own->writes.most = (uint32_t)offered / 2;
			if (offered > 1) {
				most = offered / 2;
				continue;
			}
			at++;
			most = n;
			continue;
		}
		if (status != VMNET_SUCCESS || taken <= 0) break;
		for (int i = 0; i < taken && at < n; i++, at++, sent++) count(it, VMN_TX_OCTETS, own->writes.slots[at].iov_len);
	}
	count(it, VMN_TX_FRAMES, (uint64_t)sent);
	count(it, VMN_TX_DROPPED, (uint64_t)(n - sent));
	return sent;
}

int32_t backend_tx(struct interface *it) {
	struct vmnet *own = it->own;
	uint32_t head = atomic_load_explicit(&it->tx->head, memory_order_acquire);
	uint32_t at = atomic_load_explicit(&it->tx->tail, memory_order_relaxed);
	int32_t sent = 0;
	for (int n; (n = gather(own, &at, head)) > 0;) sent += write_batch(own, n);
	/* whatever could not be read as a record is skipped */
	atomic_store_explicit(&it->tx->tail, head, memory_order_release);
	return sent;
}

int32_t backend_stop(struct interface *it) {
	struct vmnet *own = it->own;
	int32_t result = stop_interface(own, it->timeout_ms);
	if (result == 0) release(own);
	return result;
}
