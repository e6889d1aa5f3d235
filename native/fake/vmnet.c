/* vmnet.framework for Linux: interfaces whose host is the test (fake.h). */
#include <vmnet/vmnet.h>

#include <arpa/inet.h>
#include <vmnet/network.h>

#include <Block.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "fake.h"
#include "xpc_text.h"

#define KEY(name) const char *const vmnet_##name##_key = #name
KEY(operation_mode);
KEY(interface_id);
KEY(start_address);
KEY(end_address);
KEY(subnet_mask);
KEY(shared_interface_name);
KEY(nat66_prefix);
KEY(network_identifier);
KEY(host_ip_address);
KEY(host_subnet_mask);
KEY(enable_isolation);
KEY(enable_tso);
KEY(mtu);
KEY(max_packet_size);
KEY(mac_address);
static const char *const virtio_header_key = "enable_virtio_header";
static const char *const read_max_packets_key = "read_max_packets";
static const char *const write_max_packets_key = "write_max_packets";

struct frame {
	struct frame *next;
	uint32_t length;
	uint8_t octets[];
};

struct frames {
	struct frame *first, **last;
	uint32_t count;
};

struct vmnet_interface {
	struct vmnet_interface *before;
	struct frames to_guest, from_guest;
	dispatch_queue_t queue;
	void (^callback)(interface_event_t, xpc_object_t);
	uint32_t largest, header;
	int is_stopped, is_event_due;
	pthread_cond_t changed;
	pthread_t events;
};

struct vmnet_network_configuration {
	atomic_int references;
	uint32_t mode;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct vmnet_interface *last;
static void (^silent)(vmnet_return_t, xpc_object_t);
atomic_int fake_interfaces, fake_networks;

static struct {
	uint32_t macos, read_packets, write_packets, queued_packets, largest_read, largest_write;
	int echo, is_holding, is_flooding;
	uint32_t times_full;
	struct {
		uint32_t status, times, delay_ms;
	} calls[FAKE_CALLS];
	xpc_object_t described;
	char network_calls[512], text[128];
} fake = {.macos = 260};

/* the call's status when it is to fail, else success */
static vmnet_return_t failure(enum fake_call call) {
	vmnet_return_t status = VMNET_SUCCESS;
	pthread_mutex_lock(&lock);
	if (fake.calls[call].times > 0) {
		fake.calls[call].times--;
		status = fake.calls[call].status;
	}
	pthread_mutex_unlock(&lock);
	return status;
}

static void pause_for(enum fake_call call) {
	static const struct timespec millisecond = {0, 1000000};
	for (uint32_t waited = 0;; waited++) {
		pthread_mutex_lock(&lock);
		int is_over = waited >= fake.calls[call].delay_ms;
		pthread_mutex_unlock(&lock);
		if (is_over) return;
		nanosleep(&millisecond, NULL);
	}
}

static void empty(struct frames *frames) {
	for (struct frame *frame = frames->first, *next; frame != NULL; frame = next) {
		next = frame->next;
		free(frame);
	}
	*frames = (struct frames){NULL, &frames->first, 0};
}

static struct frame *new_frame(uint32_t length) {
	struct frame *frame = malloc(sizeof *frame + length);
	frame->next = NULL;
	frame->length = length;
	return frame;
}

static void append(struct frames *frames, struct frame *frame) {
	*frames->last = frame;
	frames->last = &frame->next;
	frames->count++;
}

static struct frame *take_first(struct frames *frames) {
	struct frame *frame = frames->first;
	if (frame == NULL) return NULL;
	frames->first = frame->next;
	if (frames->first == NULL) frames->last = &frames->first;
	frames->count--;
	return frame;
}

/* with the lock held */
static void frames_are_there(struct vmnet_interface *it) {
	it->is_event_due = 1;
	pthread_cond_signal(&it->changed);
}

/* A thread an interface tells that frames are there, once for many of them. */
static void *tell_events(void *of) {
	struct vmnet_interface *it = of;
	pthread_mutex_lock(&lock);
	while (!it->is_stopped) {
		if (!it->is_event_due || it->callback == NULL || fake.is_holding) {
			pthread_cond_wait(&it->changed, &lock);
			continue;
		}
		it->is_event_due = 0;
		void (^callback)(interface_event_t, xpc_object_t) = Block_copy(it->callback);
		dispatch_async(it->queue, ^{
			callback(VMNET_INTERFACE_PACKETS_AVAILABLE, NULL);
		});
		Block_release(callback);
	}
	pthread_mutex_unlock(&lock);
	return NULL;
}

static struct vmnet_interface *new_interface(xpc_object_t description) {
	char tso[16], header[16];
	xpc_text(description, vmnet_enable_tso_key, tso, sizeof tso);
	xpc_text(description, virtio_header_key, header, sizeof header);
	struct vmnet_interface *it = calloc(1, sizeof *it);
	empty(&it->to_guest);
	empty(&it->from_guest);
	it->largest = strcmp(tso, "true") == 0 ? 65550 : 1514;
	it->header = strcmp(header, "true") == 0 ? 12 : 0;
	pthread_cond_init(&it->changed, NULL);
	pthread_create(&it->events, NULL, tell_events, it);
	pthread_mutex_lock(&lock);
	it->before = last;
	last = it;
	pthread_mutex_unlock(&lock);
	atomic_fetch_add(&fake_interfaces, 1);
	return it;
}

static void free_interface(struct vmnet_interface *it) {
	pthread_mutex_lock(&lock);
	it->is_stopped = 1;
	pthread_cond_signal(&it->changed);
	struct vmnet_interface **at = &last;
	while (*at != it) at = &(*at)->before;
	*at = it->before;
	pthread_mutex_unlock(&lock);
	pthread_join(it->events, NULL);
	empty(&it->to_guest);
	empty(&it->from_guest);
	if (it->callback != NULL) Block_release(it->callback);
	pthread_cond_destroy(&it->changed);
	free(it);
	atomic_fetch_sub(&fake_interfaces, 1);
}

static void copy_text(xpc_object_t from, xpc_object_t to, const char *key, const char *otherwise) {
	const char *value = xpc_dictionary_get_string(from, key);
	if (value != NULL || otherwise != NULL) xpc_dictionary_set_string(to, key, value != NULL ? value : otherwise);
}

static xpc_object_t parameters_of(struct vmnet_interface *it, xpc_object_t description) {
	static const uint8_t made_up[16] = {0xfa, 0xce, 0xfa, 0xce, 0xfa, 0xce, 0x4a, 0xce, 0x8a, 0xce, 1, 2, 3, 4, 5, 6};
	xpc_object_t parameters = xpc_dictionary_create(NULL, NULL, 0);
	const uint8_t *uuid = xpc_dictionary_get_uuid(description, vmnet_interface_id_key);
	int is_bridged = xpc_dictionary_get_uint64(description, vmnet_operation_mode_key) == VMNET_BRIDGED_MODE;
	xpc_dictionary_set_uint64(parameters, vmnet_mtu_key, 1500);
	xpc_dictionary_set_uint64(parameters, vmnet_max_packet_size_key, it->largest);
	xpc_dictionary_set_string(parameters, vmnet_mac_address_key, "5e:11:22:33:44:55");
	xpc_dictionary_set_uuid(parameters, vmnet_interface_id_key, uuid == NULL ? made_up : uuid);
	copy_text(description, parameters, vmnet_start_address_key, is_bridged ? NULL : "192.168.64.1");
	copy_text(description, parameters, vmnet_end_address_key, is_bridged ? NULL : "192.168.64.254");
	copy_text(description, parameters, vmnet_subnet_mask_key, is_bridged ? NULL : "255.255.255.0");
	copy_text(description, parameters, vmnet_nat66_prefix_key, NULL);
	if (fake.macos >= 150) {
		xpc_dictionary_set_uint64(parameters, read_max_packets_key, fake.read_packets == 0 ? 256 : fake.read_packets);
		xpc_dictionary_set_uint64(parameters, write_max_packets_key, fake.write_packets == 0 ? 256 : fake.write_packets);
	}
	return parameters;
}

/* What starts an interface, whichever call asked for it. The answer comes from a thread that waits first. */
static interface_ref start(xpc_object_t description, dispatch_queue_t queue, void (^done)(vmnet_return_t, xpc_object_t)) {
	vmnet_return_t status = failure(FAKE_START_LATE);
	struct vmnet_interface *it = new_interface(description);
	xpc_object_t parameters = status == VMNET_SUCCESS ? parameters_of(it, description) : NULL;
	dispatch_queue_t later = dispatch_queue_create("fake.start", DISPATCH_QUEUE_SERIAL);
	pthread_mutex_lock(&lock);
	if (fake.described != NULL) xpc_release(fake.described);
	fake.described = xpc_retain(description);
	pthread_mutex_unlock(&lock);
	dispatch_retain(queue);
	dispatch_async(later, ^{
		pause_for(FAKE_START_LATE);
		dispatch_async(queue, ^{
			done(status, parameters);
			if (parameters != NULL) xpc_release(parameters);
			else free_interface(it);
		});
		dispatch_release(queue);
		dispatch_release(later);
	});
	return it;
}

interface_ref vmnet_start_interface(xpc_object_t description, dispatch_queue_t queue,
	void (^done)(vmnet_return_t status, xpc_object_t parameters)) {
	uint64_t mode = xpc_dictionary_get_uint64(description, vmnet_operation_mode_key);
	const char *name = xpc_dictionary_get_string(description, vmnet_shared_interface_name_key);
	if (failure(FAKE_START) != VMNET_SUCCESS) {
		/* nothing more is ever heard */
		silent = Block_copy(done);
		return NULL;
	}
	if (mode < VMNET_HOST_MODE || mode > VMNET_BRIDGED_MODE || (mode == VMNET_BRIDGED_MODE && name == NULL)) {
		dispatch_async(queue, ^{
			done(VMNET_INVALID_ARGUMENT, NULL);
		});
		return NULL;
	}
	return start(description, queue, done);
}

vmnet_return_t vmnet_interface_set_event_callback(interface_ref it, interface_event_t events, dispatch_queue_t queue,
	void (^callback)(interface_event_t events, xpc_object_t event)) {
	vmnet_return_t status = callback == NULL ? VMNET_SUCCESS : failure(FAKE_EVENTS);
	if (status != VMNET_SUCCESS) return status;
	if (events != VMNET_INTERFACE_PACKETS_AVAILABLE || (callback != NULL && queue == NULL)) return VMNET_INVALID_ARGUMENT;
	pthread_mutex_lock(&lock);
	void (^before)(interface_event_t, xpc_object_t) = it->callback;
	it->callback = callback == NULL ? NULL : Block_copy(callback);
	it->queue = queue;
	if (it->to_guest.first != NULL) frames_are_there(it);
	pthread_mutex_unlock(&lock);
	if (before != NULL) Block_release(before);
	return VMNET_SUCCESS;
}

vmnet_return_t vmnet_stop_interface(interface_ref it, dispatch_queue_t queue, void (^done)(vmnet_return_t status)) {
	vmnet_return_t status = failure(FAKE_STOP), answer;
	if (status != VMNET_SUCCESS) return status;
	answer = failure(FAKE_STOP_LATE);
	dispatch_queue_t later = dispatch_queue_create("fake.stop", DISPATCH_QUEUE_SERIAL);
	dispatch_retain(queue);
	dispatch_async(later, ^{
		pause_for(FAKE_STOP_LATE);
		free_interface(it);
		dispatch_async(queue, ^{
			done(answer);
		});
		dispatch_release(queue);
		dispatch_release(later);
	});
	return VMNET_SUCCESS;
}

static size_t room_of(const struct vmpktdesc *packet) {
	size_t room = 0;
	for (uint32_t i = 0; i < packet->vm_pkt_iovcnt; i++) room += packet->vm_pkt_iov[i].iov_len;
	return room;
}

/* The descriptor comes back saying what was read, as vmnet's do. */
static void hand_over(struct frame *frame, struct vmpktdesc *packet) {
	uint32_t at = 0;
	for (uint32_t i = 0; i < packet->vm_pkt_iovcnt; i++) {
		struct iovec *slot = &packet->vm_pkt_iov[i];
		if (slot->iov_len > frame->length - at) slot->iov_len = frame->length - at;
		memcpy(slot->iov_base, frame->octets + at, slot->iov_len);
		at += (uint32_t)slot->iov_len;
	}
	packet->vm_pkt_size = frame->length;
	packet->vm_flags = 0x10;
}

vmnet_return_t vmnet_read(interface_ref it, struct vmpktdesc *packets, int *count) {
	vmnet_return_t status = failure(FAKE_READ);
	int asked = *count, got = 0;
	*count = 0;
	if (status != VMNET_SUCCESS) return status;
	pthread_mutex_lock(&lock);
	if ((uint32_t)asked > fake.largest_read) fake.largest_read = (uint32_t)asked;
	if (fake.read_packets != 0 && (uint32_t)asked > fake.read_packets) status = VMNET_TOO_MANY_PACKETS;
	for (int i = 0; i < asked && status == VMNET_SUCCESS; i++) {
		if (packets[i].vm_flags != 0 || packets[i].vm_pkt_size != room_of(&packets[i])) status = VMNET_INVALID_ARGUMENT;
		else if (room_of(&packets[i]) < it->largest + it->header) status = VMNET_PACKET_TOO_BIG;
	}
	/* a batch need not be full although more is there */
	int most = asked > 3 ? asked - asked / 4 : asked;
	if (fake.is_flooding && it->to_guest.first == NULL)
		for (int i = 0; i < most; i++) append(&it->to_guest, new_frame(60));
	for (struct frame *frame; status == VMNET_SUCCESS && got < most && (frame = take_first(&it->to_guest)) != NULL; got++) {
		hand_over(frame, &packets[got]);
		free(frame);
	}
	pthread_mutex_unlock(&lock);
	*count = got;
	return status;
}

static void exchange_addresses(uint8_t *frame) {
	uint8_t address[6];
	memcpy(address, frame, 6);
	memcpy(frame, frame + 6, 6);
	memcpy(frame + 6, address, 6);
}

static void copy_in(struct vmnet_interface *it, const struct vmpktdesc *packet) {
	struct frame *frame = new_frame((uint32_t)packet->vm_pkt_size);
	size_t at = 0;
	for (uint32_t i = 0; i < packet->vm_pkt_iovcnt; at += packet->vm_pkt_iov[i++].iov_len)
		memcpy(frame->octets + at, packet->vm_pkt_iov[i].iov_base, packet->vm_pkt_iov[i].iov_len);
	if (!fake.echo) {
		append(&it->from_guest, frame);
		return;
	}
	exchange_addresses(frame->octets + it->header);
	append(&it->to_guest, frame);
	frames_are_there(it);
}

vmnet_return_t vmnet_write(interface_ref it, struct vmpktdesc *packets, int *count) {
	vmnet_return_t status = failure(FAKE_WRITE);
	int asked = *count, taken = 0;
	*count = 0;
	if (status != VMNET_SUCCESS) return status;
	pthread_mutex_lock(&lock);
	if ((uint32_t)asked > fake.largest_write) fake.largest_write = (uint32_t)asked;
	if (fake.write_packets != 0 && (uint32_t)asked > fake.write_packets) status = VMNET_TOO_MANY_PACKETS;
	for (int i = 0; i < asked && status == VMNET_SUCCESS; i++) {
		size_t size = packets[i].vm_pkt_size;
		if (packets[i].vm_flags != 0 || size != room_of(&packets[i]) || size < it->header + 14) status = VMNET_INVALID_ARGUMENT;
		else if (size > it->largest + it->header) status = VMNET_PACKET_TOO_BIG;
	}
	while (status == VMNET_SUCCESS && taken < asked && (fake.queued_packets == 0 || it->from_guest.count < fake.queued_packets))
		copy_in(it, &packets[taken++]);
	/* no room is told in one way or the other */
	if (status == VMNET_SUCCESS && taken == 0 && fake.times_full++ % 2 == 0) status = VMNET_BUFFER_EXHAUSTED;
	pthread_mutex_unlock(&lock);
	*count = taken;
	return status;
}

xpc_object_t vmnet_copy_shared_interface_list(void) {
	xpc_object_t names = xpc_dictionary_create(NULL, NULL, 0);
	xpc_dictionary_set_string(names, "0", "en0");
	xpc_dictionary_set_string(names, "1", "en7");
	return names;
}

static void note(const char *text) {
	pthread_mutex_lock(&lock);
	size_t used = strlen(fake.network_calls);
	snprintf(fake.network_calls + used, sizeof fake.network_calls - used, "%s\n", text);
	pthread_mutex_unlock(&lock);
}

/* Configurations and networks are one kind of object here: what was said is noted. */
vmnet_network_configuration_ref vmnet_network_configuration_create(uint32_t mode, vmnet_return_t *status) {
	struct vmnet_network_configuration *it = calloc(1, sizeof *it);
	atomic_fetch_add(&fake_networks, 1);
	it->references = 1;
	it->mode = mode;
	fake.network_calls[0] = 0;
	note(mode == VMNET_SHARED_MODE ? "create shared" : "create host");
	*status = VMNET_SUCCESS;
	return it;
}

vmnet_return_t vmnet_network_configuration_set_ipv4_subnet(vmnet_network_configuration_ref it, const struct in_addr *address,
	const struct in_addr *mask) {
	char text[64], one[INET_ADDRSTRLEN], other[INET_ADDRSTRLEN];
	(void)it;
	inet_ntop(AF_INET, address, one, sizeof one);
	inet_ntop(AF_INET, mask, other, sizeof other);
	snprintf(text, sizeof text, "set_ipv4_subnet %s %s", one, other);
	note(text);
	return VMNET_SUCCESS;
}

vmnet_return_t vmnet_network_configuration_set_ipv6_prefix(vmnet_network_configuration_ref it, const struct in6_addr *prefix,
	uint8_t length) {
	char text[96], one[INET6_ADDRSTRLEN];
	(void)it;
	inet_ntop(AF_INET6, prefix, one, sizeof one);
	snprintf(text, sizeof text, "set_ipv6_prefix %s/%u", one, length);
	note(text);
	return VMNET_SUCCESS;
}

vmnet_return_t vmnet_network_configuration_set_external_interface(vmnet_network_configuration_ref it, const char *name) {
	char text[64];
	snprintf(text, sizeof text, "set_external_interface %s", name);
	note(text);
	return it->mode == VMNET_SHARED_MODE ? VMNET_SUCCESS : VMNET_INVALID_ARGUMENT;
}

vmnet_return_t vmnet_network_configuration_set_mtu(vmnet_network_configuration_ref it, uint32_t mtu) {
	char text[64];
	(void)it;
	snprintf(text, sizeof text, "set_mtu %u", mtu);
	note(text);
	return VMNET_SUCCESS;
}

void vmnet_network_configuration_disable_dhcp(vmnet_network_configuration_ref it) {
	(void)it;
	note("disable_dhcp");
}

vmnet_network_ref vmnet_network_create(vmnet_network_configuration_ref configuration, vmnet_return_t *status) {
	pause_for(FAKE_NETWORK);
	*status = failure(FAKE_NETWORK);
	if (*status != VMNET_SUCCESS) return NULL;
	struct vmnet_network_configuration *it = calloc(1, sizeof *it);
	atomic_fetch_add(&fake_networks, 1);
	it->references = 1;
	it->mode = configuration->mode;
	return (vmnet_network_ref)(void *)it;
}

interface_ref vmnet_interface_start_with_network(vmnet_network_ref network, xpc_object_t description,
	dispatch_queue_t queue, void (^done)(vmnet_return_t status, xpc_object_t parameters)) {
	(void)network;
	note("start_with_network");
	return start(description, queue, done);
}

static void cf_release(const void *of) {
	struct vmnet_network_configuration *it = (struct vmnet_network_configuration *)of;
	if (atomic_fetch_sub(&it->references, 1) != 1) return;
	free(it);
	atomic_fetch_sub(&fake_networks, 1);
}

/* what dlsym finds on a macOS, since which version */
static const struct {
	const char *name;
	uint32_t since;
	const void *symbol;
} later[] = {
	{"CFRelease", 0, (const void *)cf_release},
	{"vmnet_read_max_packets_key", 150, &read_max_packets_key},
	{"vmnet_write_max_packets_key", 150, &write_max_packets_key},
	{"vmnet_enable_virtio_header_key", 154, &virtio_header_key},
#define SINCE_26(name) {#name, 260, (const void *)name}
	SINCE_26(vmnet_network_configuration_create),
	SINCE_26(vmnet_network_configuration_set_ipv4_subnet),
	SINCE_26(vmnet_network_configuration_set_ipv6_prefix),
	SINCE_26(vmnet_network_configuration_set_external_interface),
	SINCE_26(vmnet_network_configuration_set_mtu),
	SINCE_26(vmnet_network_configuration_disable_dhcp),
	SINCE_26(vmnet_network_create),
	SINCE_26(vmnet_interface_start_with_network),
};

/* The library is built with -Ddlsym=fake_dlsym. */
void *fake_dlsym(void *handle, const char *name) {
	(void)handle;
	for (size_t i = 0; i < sizeof later / sizeof later[0]; i++)
		if (strcmp(later[i].name, name) == 0) return fake.macos < later[i].since ? NULL : (void *)later[i].symbol;
	return NULL;
}

void fake_reset(void) {
	pthread_mutex_lock(&lock);
	if (fake.described != NULL) xpc_release(fake.described);
	memset(&fake, 0, sizeof fake);
	fake.macos = 260;
	pthread_mutex_unlock(&lock);
}

void fake_macos(uint32_t version) {
	fake.macos = version;
}

void fake_fail(uint32_t call, uint32_t status, uint32_t times) {
	pthread_mutex_lock(&lock);
	fake.calls[call].status = status;
	fake.calls[call].times = times;
	pthread_mutex_unlock(&lock);
}

void fake_delay(uint32_t call, uint32_t milliseconds) {
	pthread_mutex_lock(&lock);
	fake.calls[call].delay_ms = milliseconds;
	pthread_mutex_unlock(&lock);
}

void fake_limits(uint32_t read_packets, uint32_t write_packets, uint32_t queued_packets) {
	pthread_mutex_lock(&lock);
	fake.read_packets = read_packets;
	fake.write_packets = write_packets;
	fake.queued_packets = queued_packets;
	pthread_mutex_unlock(&lock);
}

void fake_hold_events(uint32_t on) {
	pthread_mutex_lock(&lock);
	fake.is_holding = on != 0;
	for (struct vmnet_interface *it = last; it != NULL; it = it->before) pthread_cond_signal(&it->changed);
	pthread_mutex_unlock(&lock);
}

void fake_flood(uint32_t on) {
	pthread_mutex_lock(&lock);
	fake.is_flooding = on != 0;
	pthread_mutex_unlock(&lock);
}

void fake_echo(uint32_t on) {
	pthread_mutex_lock(&lock);
	fake.echo = on != 0;
	pthread_mutex_unlock(&lock);
}

int32_t fake_inject(const void *octets, uint32_t length) {
	struct frame *frame = new_frame(length);
	memcpy(frame->octets, octets, length);
	pthread_mutex_lock(&lock);
	struct vmnet_interface *it = last;
	if (it != NULL) {
		append(&it->to_guest, frame);
		frames_are_there(it);
	}
	pthread_mutex_unlock(&lock);
	if (it == NULL) free(frame);
	return it != NULL;
}

int32_t fake_take(void *octets, uint32_t size) {
	pthread_mutex_lock(&lock);
	struct frame *frame = last == NULL ? NULL : take_first(&last->from_guest);
	pthread_mutex_unlock(&lock);
	if (frame == NULL) return -1;
	int32_t length = (int32_t)frame->length;
	memcpy(octets, frame->octets, frame->length < size ? frame->length : size);
	free(frame);
	return length;
}

const char *fake_described(const char *key) {
	pthread_mutex_lock(&lock);
	fake.text[0] = 0;
	if (fake.described != NULL) xpc_text(fake.described, key, fake.text, sizeof fake.text);
	pthread_mutex_unlock(&lock);
	return fake.text;
}

const char *fake_network_calls(void) {
	return fake.network_calls;
}

uint32_t fake_largest_read(void) {
	return fake.largest_read;
}

uint32_t fake_largest_write(void) {
	return fake.largest_write;
}
