/*
 * The vmnet back end against the fake of vmnet (native/fake), through the library's ABI as the engine thread uses it. Built
 * with a sanitizer each time. Prints a line a test: "ok NAME", or "FAILED NAME: what and where".
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "fake/fake.h"
#include "ring.h"
#include "vmn.h"

#define SMALL 4096u
#define LARGE (1u << 20)
#define SHARED "mode=shared\n"
/* how long something may take before the test has failed; nothing that goes right waits for it */
#define PATIENCE_MS 20000

static const char *test_name;
static int failures;

/* The thread sanitizer does not see the counts of this library's blocks, and takes the last release for a race. */
const char *__tsan_default_suppressions(void);
const char *__tsan_default_suppressions(void) {
	return "called_from_lib:libBlocksRuntime.so\n";
}

#define CHECK(condition)                                                                   \
	do {                                                                                   \
		if (!(condition)) {                                                                \
			printf("FAILED %s: line %d: %s\n", test_name, __LINE__, #condition);            \
			failures++;                                                                    \
			return;                                                                        \
		}                                                                                  \
	} while (0)

/* One interface with its rings, as the TypeScript side has it. */
struct side {
	int32_t id;
	struct vmn_ring *rx, *tx;
	uint32_t head; /* of the transmit ring */
	char facts[2048];
};

static struct side begin(const char *conf, uint32_t rx, uint32_t tx) {
	struct side side = {0};
	char text[1024];
	side.rx = aligned_alloc(64, VMN_RING_HEADER + rx);
	side.tx = aligned_alloc(64, VMN_RING_HEADER + tx);
	snprintf(text, sizeof text, "%srx=%u\ntx=%u\n", conf, rx, tx);
	side.id = vmn_start(text, (uint32_t)strlen(text), side.rx, side.tx, side.facts, sizeof side.facts);
	return side;
}

static int32_t end(struct side *side) {
	int32_t result = side->id < 0 ? 0 : vmn_stop(side->id);
	free(side->rx);
	free(side->tx);
	return result;
}

static int tells(const struct side *side, const char *line) {
	char text[128];
	snprintf(text, sizeof text, "%s\n", line);
	return strstr(side->facts, text) != NULL;
}

static uint64_t stat_of(const struct side *side, int what) {
	uint64_t stats[VMN_STATS];
	vmn_stats(side->id, stats);
	return stats[what];
}

static void put(struct side *side, const void *frame, uint32_t length) {
	uint32_t at;
	uint8_t *place = ring_reserve(side->tx, length, &at);
	if (place == NULL) {
		printf("FAILED %s: the transmit ring is full\n", test_name);
		exit(1);
	}
	memcpy(place, frame, length);
	ring_commit(side->tx, at, length);
}

/* The next received payload, waiting at the bell as the engine does; its length, or -1 when it does not come. */
static int32_t get(struct side *side, void *frame, uint32_t size) {
	uint32_t tail = atomic_load(&side->rx->tail), length;
	for (;;) {
		uint32_t head = atomic_load(&side->rx->head);
		uint8_t *payload = ring_at(side->rx, &tail, head, &length);
		if (payload != NULL) {
			memcpy(frame, payload, length < size ? length : size);
			atomic_store(&side->rx->tail, tail + record_size(length));
			return (int32_t)length;
		}
		atomic_store(&side->rx->armed, 1);
		if (atomic_load(&side->rx->head) != head) continue;
		if (atomic_load(&side->rx->status) != 0) return -1;
		struct pollfd wait = {vmn_bell(side->id), POLLIN, 0};
		char octets[64];
		if (poll(&wait, 1, PATIENCE_MS) != 1) return -1;
		if (read(wait.fd, octets, sizeof octets) < 0) return -1;
	}
}

static void sleep_ms(long milliseconds) {
	struct timespec time = {milliseconds / 1000, milliseconds % 1000 * 1000000};
	nanosleep(&time, NULL);
}

static int comes_true(int (*is_true)(void *), void *of) {
	for (int i = 0; i < PATIENCE_MS; i++) {
		if (is_true(of)) return 1;
		sleep_ms(1);
	}
	return 0;
}

static void make_frame(uint8_t *frame, uint32_t length, uint32_t number) {
	for (uint32_t i = 0; i < length; i++) frame[i] = (uint8_t)(number * 31 + i);
	memcpy(frame, &number, sizeof number);
}

static int nothing_is_left(void *of) {
	(void)of;
	return fake_queues == 0 && fake_semaphores == 0 && fake_xpc_objects == 0 && fake_interfaces == 0 && fake_networks == 0;
}

/* Every test ends with this: nothing of Apple's is kept. */
#define NOTHING_LEFT           \
	do {                       \
		fake_reset();          \
		CHECK(comes_true(nothing_is_left, NULL)); \
	} while (0)

static void starts_and_tells(void) {
	struct side side = begin(SHARED, SMALL, SMALL);
	CHECK(side.id >= 0);
	CHECK(tells(&side, "mtu=1500") && tells(&side, "max_packet=1514") && tells(&side, "header=0"));
	CHECK(tells(&side, "mac=5e:11:22:33:44:55") && tells(&side, "gateway=192.168.64.1"));
	CHECK(tells(&side, "uuid=faceface-face-4ace-8ace-010203040506"));
	CHECK(tells(&side, "read_batch=64") && tells(&side, "write_batch=64"));
	CHECK(strstr(side.facts, "step=") == NULL);
	CHECK(end(&side) == 0);
	NOTHING_LEFT;
}

static void capabilities_follow_the_system(void) {
	char text[256];
	vmn_caps(text, sizeof text);
	CHECK(strcmp(text, "backend=vmnet\nnetwork_api=1\nvirtio_header=1\nmax_batch=64\n") == 0);
	fake_macos(154);
	vmn_caps(text, sizeof text);
	CHECK(strstr(text, "network_api=0\nvirtio_header=1\n") != NULL);
	fake_macos(130);
	vmn_caps(text, sizeof text);
	CHECK(strstr(text, "network_api=0\nvirtio_header=0\n") != NULL);
	CHECK(vmn_shared_ifs(text, sizeof text) == 2);
	CHECK(strcmp(text, "en0\nen7\n") == 0);
	CHECK(vmn_abi() == VMN_ABI);
	NOTHING_LEFT;
}

/* what is set, and what vmnet is then told */
static const struct {
	const char *conf, *key, *value;
} settings[] = {
	{"mode=shared\n", "operation_mode", "1001"},
	{"mode=host\n", "operation_mode", "1000"},
	{"mode=bridged\ninterface=en0\n", "operation_mode", "1002"},
	{"mode=bridged\ninterface=en0\n", "shared_interface_name", "en0"},
	{"mode=shared\ngateway=192.168.105.1\nend=192.168.105.254\nmask=255.255.255.0\n", "start_address", "192.168.105.1"},
	{"mode=shared\ngateway=192.168.105.1\nend=192.168.105.254\nmask=255.255.255.0\n", "end_address", "192.168.105.254"},
	{"mode=shared\ngateway=192.168.105.1\nend=192.168.105.254\nmask=255.255.255.0\n", "subnet_mask", "255.255.255.0"},
	{"mode=shared\nnat66=fd00:1:2:3::\n", "nat66_prefix", "fd00:1:2:3::"},
	{"mode=shared\nuuid=00112233-4455-6677-8899-AABBCCDDEEFF\n", "interface_id", "00112233445566778899aabbccddeeff"},
	{"mode=host\nidentifier=00112233-4455-6677-8899-aabbccddeeff\ngateway=10.1.1.1\n", "network_identifier",
		"00112233445566778899aabbccddeeff"},
	{"mode=host\nidentifier=00112233-4455-6677-8899-aabbccddeeff\ngateway=10.1.1.1\n", "host_ip_address", "10.1.1.1"},
	{"mode=host\nidentifier=00112233-4455-6677-8899-aabbccddeeff\ngateway=10.1.1.1\n", "start_address", ""},
	{"mode=host\nisolation=1\n", "enable_isolation", "true"},
	{"mode=host\nisolation=0\n", "enable_isolation", ""},
	{"mode=shared\noffload=1\n", "enable_virtio_header", "true"},
	{"mode=shared\noffload=1\n", "enable_tso", "true"},
	{"mode=shared\n", "enable_tso", ""},
	{"mode=shared\n", "enable_virtio_header", ""},
};

static void settings_reach_vmnet(void) {
	for (size_t i = 0; i < sizeof settings / sizeof settings[0]; i++) {
		struct side side = begin(settings[i].conf, SMALL, SMALL);
		if (strcmp(fake_described(settings[i].key), settings[i].value) != 0)
			printf("%s%s: %s\n", settings[i].conf, settings[i].key, fake_described(settings[i].key));
		CHECK(side.id >= 0);
		CHECK(strcmp(fake_described(settings[i].key), settings[i].value) == 0);
		CHECK(end(&side) == 0);
	}
	NOTHING_LEFT;
}

/* what is refused, and which step is named */
static const struct {
	const char *conf;
	int32_t result;
	const char *step;
} refusals[] = {
	{"", -EINVAL, "step=mode"},
	{"mode=nat\n", -EINVAL, "step=mode"},
	{"mode=shared\nuuid=00112233\n", -EINVAL, "step=uuid"},
	{"mode=shared\nuuid=0011223344556677-8899-aabbccddeeff-000\n", -EINVAL, "step=uuid"},
	{"mode=shared\nuuid=00112233-4455-6677-8899-aabbccddeegg\n", -EINVAL, "step=uuid"},
	{"mode=shared\nuuid=00112233-4455-6677-8899-aabbccddeeff0\n", -EINVAL, "step=uuid"},
	{"mode=host\nidentifier=x\n", -EINVAL, "step=identifier"},
	{"mode=shared\ngateway=0123456789012345678901234567890123456789012345678901234567890123456789\n", -EINVAL, "step=gateway"},
	{"mode=bridged\n", -1003, "step=start"},
	{"mode=shared\ndhcp=0\ngateway=192.168.105.1\n", -1003, "step=network"},
	{"mode=shared\ndhcp=0\ngateway=300.1.1.1\nmask=255.255.255.0\n", -1003, "step=network"},
	{"mode=shared\ndhcp=0\nnat66=fd00\n", -1003, "step=network"},
	{"mode=host\ndhcp=0\ninterface=en0\n", -1003, "step=network"},
};

static void wrong_settings_are_refused(void) {
	for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++) {
		struct side side = begin(refusals[i].conf, SMALL, SMALL);
		if (side.id != refusals[i].result) printf("%s: %d %s\n", refusals[i].conf, side.id, side.facts);
		CHECK(side.id == refusals[i].result);
		CHECK(tells(&side, refusals[i].step));
		end(&side);
	}
	struct side side = begin(SHARED, 5056, SMALL);
	CHECK(side.id == -EINVAL && tells(&side, "step=rings"));
	end(&side);
	NOTHING_LEFT;
}

/* Every status of vmnet's at every call that gives one. */
static void statuses_are_told(void) {
	static const struct {
		enum fake_call call;
		const char *conf, *step;
	} calls[] = {
		{FAKE_START_LATE, SHARED, "step=start"},
		{FAKE_EVENTS, SHARED, "step=events"},
		{FAKE_NETWORK, SHARED "dhcp=0\n", "step=network"},
	};
	for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++) {
		for (int32_t status = 1001; status <= 1010; status++) {
			fake_fail(calls[i].call, (uint32_t)status, 1);
			struct side side = begin(calls[i].conf, SMALL, SMALL);
			CHECK(side.id == -status);
			CHECK(tells(&side, calls[i].step));
			end(&side);
		}
		NOTHING_LEFT;
	}
}

static void a_start_that_takes_too_long_is_undone(void) {
	fake_delay(FAKE_START_LATE, PATIENCE_MS);
	struct side side = begin(SHARED "timeout_ms=20\n", SMALL, SMALL);
	CHECK(side.id == -ETIMEDOUT);
	CHECK(tells(&side, "step=start"));
	end(&side);
	NOTHING_LEFT;
	fake_delay(FAKE_START_LATE, PATIENCE_MS);
	fake_fail(FAKE_START_LATE, 1001, 1);
	side = begin(SHARED "timeout_ms=20\n", SMALL, SMALL);
	CHECK(side.id == -ETIMEDOUT);
	end(&side);
	NOTHING_LEFT;
	fake_delay(FAKE_NETWORK, PATIENCE_MS);
	side = begin(SHARED "dhcp=0\ntimeout_ms=20\n", SMALL, SMALL);
	CHECK(side.id == -ETIMEDOUT);
	CHECK(tells(&side, "step=network"));
	end(&side);
	NOTHING_LEFT;
}

static int has_stopped(void *of) {
	return vmn_stop(*(int32_t *)of) == 0;
}

static void a_stop_that_takes_too_long_can_be_asked_again(void) {
	struct side side = begin(SHARED "timeout_ms=500\n", SMALL, SMALL);
	CHECK(side.id >= 0);
	fake_fail(FAKE_STOP, 1005, 1);
	CHECK(vmn_stop(side.id) == -1005);
	fake_delay(FAKE_STOP_LATE, PATIENCE_MS);
	fake_fail(FAKE_STOP_LATE, 1001, 1);
	CHECK(vmn_stop(side.id) == -ETIMEDOUT);
	fake_delay(FAKE_STOP_LATE, 0);
	CHECK(comes_true(has_stopped, &side.id));
	CHECK(vmn_stop(side.id) == -EBADF);
	CHECK(vmn_tx(side.id) == -EBADF);
	CHECK(vmn_bell(side.id) == -EBADF);
	side.id = -1;
	end(&side);
	NOTHING_LEFT;
}

static void networks_of_macos_26_are_used_when_only_they_can(void) {
	struct side side = begin(SHARED "gateway=192.168.105.1\nmask=255.255.255.0\nnat66=fd00:1::\ndhcp=0\nnet_mtu=9000\ninterface=en0\n",
		SMALL, SMALL);
	CHECK(side.id >= 0);
	CHECK(strcmp(fake_network_calls(), "create shared\nset_ipv4_subnet 192.168.105.1 255.255.255.0\n"
									   "set_ipv6_prefix fd00:1::/64\ndisable_dhcp\nset_mtu 9000\n"
									   "set_external_interface en0\nstart_with_network\n") == 0);
	CHECK(fake_networks == 1);
	CHECK(end(&side) == 0);
	NOTHING_LEFT;
	/* these have no DHCP of themselves */
	side = begin("mode=host\nidentifier=00112233-4455-6677-8899-aabbccddeeff\ndhcp=0\n", SMALL, SMALL);
	CHECK(side.id >= 0 && fake_networks == 0);
	CHECK(end(&side) == 0);
	side = begin("mode=bridged\ninterface=en0\ndhcp=0\n", SMALL, SMALL);
	CHECK(side.id >= 0 && fake_networks == 0);
	CHECK(end(&side) == 0);
	fake_macos(154);
	side = begin(SHARED "dhcp=0\n", SMALL, SMALL);
	CHECK(side.id == -ENOTSUP && tells(&side, "step=network"));
	end(&side);
	NOTHING_LEFT;
}

static void frames_come_in_order_and_wrap(void) {
	struct side side = begin(SHARED, SMALL * 2, SMALL);
	uint8_t sent[1514], got[2048];
	CHECK(side.id >= 0);
	for (uint32_t i = 0; i < 5000; i++) {
		uint32_t length = 14 + i * 37 % 1500;
		make_frame(sent, length, i);
		CHECK(fake_inject(sent, length));
		CHECK(get(&side, got, sizeof got) == (int32_t)length);
		CHECK(memcmp(sent, got, length) == 0);
	}
	CHECK(stat_of(&side, VMN_RX_FRAMES) == 5000);
	CHECK(stat_of(&side, VMN_RX_DROPPED) == 0);
	CHECK(end(&side) == 0);
	NOTHING_LEFT;
}

static int has_read_300(void *of) {
	struct side *side = of;
	return stat_of(side, VMN_RX_FRAMES) + stat_of(side, VMN_RX_DROPPED) == 300;
}

/* seven times for 300 frames, and once to see that there are no more */
static int has_read_eight_times(void *of) {
	return stat_of(of, VMN_RX_READS) == 8;
}

static void one_event_brings_all_frames_in_batches(void) {
	uint8_t frame[1514];
	fake_hold_events(1);
	struct side side = begin(SHARED, LARGE, SMALL);
	CHECK(side.id >= 0);
	for (uint32_t i = 0; i < 300; i++) {
		make_frame(frame, sizeof frame, i);
		fake_inject(frame, sizeof frame);
	}
	fake_hold_events(0);
	for (uint32_t i = 0; i < 300; i++) {
		uint8_t got[1514], wanted[1514];
		make_frame(wanted, sizeof wanted, i);
		CHECK(get(&side, got, sizeof got) == sizeof got);
		CHECK(memcmp(got, wanted, sizeof got) == 0);
	}
	CHECK(fake_largest_read() == 64);
	CHECK(stat_of(&side, VMN_EVENTS) == 1);
	/* the fake gives 48 of the 64 that are asked for */
	CHECK(comes_true(has_read_eight_times, &side));
	CHECK(end(&side) == 0);
	NOTHING_LEFT;
}

static void a_full_ring_drops_counts_and_waits_for_nobody(void) {
	uint8_t frame[1514], got[2048];
	struct side side = begin(SHARED, SMALL, SMALL);
	CHECK(side.id >= 0);
	make_frame(frame, sizeof frame, 7);
	for (int i = 0; i < 300; i++) fake_inject(frame, sizeof frame);
	CHECK(comes_true(has_read_300, &side));
	CHECK(stat_of(&side, VMN_RX_FRAMES) == 2);
	CHECK(stat_of(&side, VMN_RX_DROPPED) == 298);
	CHECK(side.rx->dropped == 298);
	CHECK(get(&side, got, sizeof got) == 1514);
	CHECK(get(&side, got, sizeof got) == 1514);
	fake_inject(frame, 60);
	CHECK(get(&side, got, sizeof got) == 60);
	CHECK(end(&side) == 0);
	NOTHING_LEFT;
}

static void frames_go_out_in_batches(void) {
	uint8_t frame[1514], got[1514];
	struct side side = begin(SHARED, SMALL, LARGE);
	CHECK(side.id >= 0);
	for (uint32_t i = 0; i < 200; i++) {
		make_frame(frame, 60 + i, i);
		put(&side, frame, 60 + i);
	}
	CHECK(vmn_tx(side.id) == 200);
	for (uint32_t i = 0; i < 200; i++) {
		make_frame(frame, 60 + i, i);
		CHECK(fake_take(got, sizeof got) == (int32_t)(60 + i));
		CHECK(memcmp(got, frame, 60 + i) == 0);
	}
	CHECK(fake_take(got, sizeof got) == -1);
	CHECK(stat_of(&side, VMN_TX_WRITES) == 4 && fake_largest_write() == 64);
	CHECK(stat_of(&side, VMN_TX_FRAMES) == 200);
	CHECK(vmn_tx(side.id) == 0);
	CHECK(end(&side) == 0);
	NOTHING_LEFT;
}

static void a_frame_that_is_refused_takes_no_other_with_it(void) {
	uint8_t frame[2000], got[2000];
	struct side side = begin(SHARED, SMALL, LARGE);
	CHECK(side.id >= 0);
	memset(frame, 1, sizeof frame);
	/* "VFKT", an empty record and one that is too long, among good ones */
	for (int i = 0; i < 20; i++) put(&side, frame, i == 3 ? 4 : i == 4 ? 0 : i == 9 ? 1515 : 100);
	CHECK(vmn_tx(side.id) == 17);
	CHECK(stat_of(&side, VMN_TX_DROPPED) == 3);
	/* vmnet did not see them */
	CHECK(stat_of(&side, VMN_TX_WRITES) == 1);
	for (int i = 0; i < 17; i++) CHECK(fake_take(got, sizeof got) == 100);
	/* what only vmnet finds wrong: every batch is refused once */
	for (int i = 0; i < 20; i++) put(&side, frame, 100);
	fake_fail(FAKE_WRITE, 1003, 1);
	CHECK(vmn_tx(side.id) == 20);
	/* refused whatever its size: one frame is lost */
	for (int i = 0; i < 4; i++) put(&side, frame, 100);
	fake_fail(FAKE_WRITE, 1006, 3);
	CHECK(vmn_tx(side.id) == 3);
	CHECK(stat_of(&side, VMN_TX_DROPPED) == 4);
	CHECK(end(&side) == 0);
	NOTHING_LEFT;
}

static void a_host_without_room_takes_what_it_can(void) {
	uint8_t frame[100] = {0};
	struct side side = begin(SHARED, SMALL, LARGE);
	CHECK(side.id >= 0);
	fake_limits(0, 0, 70);
	for (int i = 0; i < 100; i++) put(&side, frame, sizeof frame);
	CHECK(vmn_tx(side.id) == 70);
	CHECK(stat_of(&side, VMN_TX_DROPPED) == 30);
	put(&side, frame, sizeof frame);
	CHECK(vmn_tx(side.id) == 0);
	CHECK(stat_of(&side, VMN_TX_DROPPED) == 31);
	/* 64 and 6 went, then there was no room, and no room again: nothing is offered twice */
	CHECK(stat_of(&side, VMN_TX_WRITES) == 4);
	for (int i = 0; i < 70; i++) CHECK(fake_take(frame, sizeof frame) == 100);
	put(&side, frame, sizeof frame);
	CHECK(vmn_tx(side.id) == 1);
	CHECK(end(&side) == 0);
	NOTHING_LEFT;
}

static void limits_of_a_call_are_found_out(void) {
	uint8_t frame[100] = {0}, got[2048];
	fake_limits(10, 10, 0);
	struct side side = begin(SHARED, LARGE, LARGE);
	CHECK(side.id >= 0 && tells(&side, "read_batch=10") && tells(&side, "write_batch=10"));
	CHECK(end(&side) == 0);
	/* a system that does not tell them, and enforces lower ones than were known */
	fake_macos(130);
	side = begin(SHARED, LARGE, LARGE);
	CHECK(side.id >= 0 && tells(&side, "read_batch=64") && tells(&side, "write_batch=64"));
	for (int i = 0; i < 200; i++) put(&side, frame, sizeof frame);
	CHECK(vmn_tx(side.id) == 200);
	CHECK(stat_of(&side, VMN_TX_DROPPED) == 0);
	for (int i = 0; i < 50; i++) fake_inject(frame, sizeof frame);
	for (int i = 0; i < 50; i++) CHECK(get(&side, got, sizeof got) == 100);
	CHECK(end(&side) == 0);
	NOTHING_LEFT;
}

static void large_frames_carry_a_header_where_the_system_has_it(void) {
	static uint8_t frame[65562], got[65562];
	struct side side = begin(SHARED "offload=1\n", LARGE, LARGE);
	CHECK(side.id >= 0);
	CHECK(tells(&side, "header=12") && tells(&side, "max_packet=65550") && tells(&side, "read_batch=16"));
	for (uint32_t i = 0; i < 20; i++) {
		make_frame(frame, sizeof frame, i);
		fake_inject(frame, sizeof frame);
		CHECK(get(&side, got, sizeof got) == sizeof got);
		CHECK(memcmp(frame, got, sizeof got) == 0);
		put(&side, frame, sizeof frame);
		CHECK(vmn_tx(side.id) == 1);
		CHECK(fake_take(got, sizeof got) == sizeof got);
		CHECK(memcmp(frame, got, sizeof got) == 0);
	}
	/* header and Ethernet header are the least */
	put(&side, frame, 25);
	CHECK(vmn_tx(side.id) == 0);
	CHECK(end(&side) == 0);
	fake_macos(150);
	side = begin(SHARED "offload=1\n", SMALL, SMALL);
	CHECK(side.id >= 0 && tells(&side, "header=0") && tells(&side, "max_packet=1514"));
	CHECK(end(&side) == 0);
	NOTHING_LEFT;
}

struct reads_of {
	struct side *side;
	uint64_t reads;
};

static int has_reads(void *of) {
	struct reads_of *wanted = of;
	return stat_of(wanted->side, VMN_RX_READS) >= wanted->reads;
}

/* Whether a frame comes after so many failed reads. */
static int fails_and_goes_on(struct side *side, uint32_t times) {
	uint8_t frame[100] = {0};
	fake_fail(FAKE_READ, 1001, times);
	for (uint32_t i = 0; i < times; i++) {
		struct reads_of wanted = {side, stat_of(side, VMN_RX_READS) + 1};
		fake_inject(frame, sizeof frame);
		if (!comes_true(has_reads, &wanted)) return 0;
	}
	fake_inject(frame, sizeof frame);
	for (uint32_t i = 0; i <= times; i++)
		if (get(side, frame, sizeof frame) != sizeof frame) return 0;
	return 1;
}

static void an_interface_that_is_gone_is_told_once(void) {
	uint8_t frame[100] = {0}, got[100];
	for (int32_t status = 1001; status <= 1010; status++) {
		int is_final = status == 1004 || status == 1005 || status == 1010;
		struct side side = begin(SHARED, SMALL, SMALL);
		CHECK(side.id >= 0);
		/* 1008 is asked again with a smaller batch, the others wait for the next event */
		fake_fail(FAKE_READ, (uint32_t)status, 1);
		fake_inject(frame, sizeof frame);
		if (is_final) {
			CHECK(get(&side, got, sizeof got) == -1);
			CHECK(side.rx->status == -status);
		} else {
			struct reads_of one = {&side, 1};
			CHECK(comes_true(has_reads, &one));
			fake_inject(frame, sizeof frame);
			CHECK(get(&side, got, sizeof got) == 100);
			CHECK(get(&side, got, sizeof got) == 100);
			CHECK(side.rx->status == 0);
		}
		CHECK(end(&side) == 0);
	}
	/* fifteen failures may pass, and fifteen after those; sixteen in a row do not */
	for (uint32_t times = 15; times <= 16; times++) {
		struct side side = begin(SHARED, SMALL * 4, SMALL);
		CHECK(side.id >= 0);
		CHECK(fails_and_goes_on(&side, 15));
		CHECK(fails_and_goes_on(&side, times) == (times == 15));
		CHECK(side.rx->status == (times == 16 ? -1001 : 0));
		CHECK(end(&side) == 0);
	}
	/* writes of an interface that has gone are lost, and counted */
	struct side side = begin(SHARED, SMALL, SMALL);
	put(&side, frame, sizeof frame);
	put(&side, frame, sizeof frame);
	fake_fail(FAKE_WRITE, 1005, 9);
	CHECK(vmn_tx(side.id) == 0);
	CHECK(stat_of(&side, VMN_TX_DROPPED) == 2);
	CHECK(end(&side) == 0);
	NOTHING_LEFT;
}

static void broken_records_of_the_caller_do_no_harm(void) {
	uint8_t frame[100] = {0};
	struct side side = begin(SHARED, SMALL, SMALL);
	CHECK(side.id >= 0);
	put(&side, frame, sizeof frame);
	uint32_t wrong = 0x7fffffff;
	memcpy(side.tx->data, &wrong, sizeof wrong);
	CHECK(vmn_tx(side.id) == 0);
	put(&side, frame, sizeof frame);
	CHECK(vmn_tx(side.id) == 1);
	CHECK(end(&side) == 0);
	NOTHING_LEFT;
}

static void stops_while_frames_rush_in(void) {
	uint8_t frame[1514] = {0};
	for (int round = 0; round < 20; round++) {
		fake_echo(1);
		struct side side = begin(SHARED, SMALL, SMALL);
		CHECK(side.id >= 0);
		for (int i = 0; i < 100; i++) {
			put(&side, frame, sizeof frame);
			CHECK(vmn_tx(side.id) == 1);
		}
		CHECK(end(&side) == 0);
	}
	NOTHING_LEFT;
}

static void stops_although_frames_never_end(void) {
	struct side side = begin(SHARED, SMALL, SMALL);
	CHECK(side.id >= 0);
	fake_flood(1);
	uint8_t frame[60] = {0};
	fake_inject(frame, sizeof frame);
	CHECK(get(&side, frame, sizeof frame) == sizeof frame);
	CHECK(end(&side) == 0);
	NOTHING_LEFT;
}

static void two_hundred_starts_and_stops_leave_nothing(void) {
	int before = dup(0), after;
	close(before);
	int32_t first = -1;
	for (int i = 0; i < 200; i++) {
		struct side side = begin(i % 2 ? SHARED : SHARED "dhcp=0\n", SMALL, SMALL);
		CHECK(side.id >= 0 && side.id != first);
		first = side.id;
		CHECK(end(&side) == 0);
	}
	after = dup(0);
	close(after);
	CHECK(after == before);
	NOTHING_LEFT;
}

static void sixty_four_at_once_and_not_one_more(void) {
	struct side sides[65];
	for (int i = 0; i < 65; i++) sides[i] = begin(SHARED, SMALL, SMALL);
	for (int i = 0; i < 64; i++) CHECK(sides[i].id >= 0);
	CHECK(sides[64].id == -EMFILE);
	for (int i = 0; i < 65; i++) CHECK(end(&sides[i]) == 0);
	NOTHING_LEFT;
}

static uint32_t random_state = 1;

/* xorshift (Marsaglia, 2003): the same numbers at every run */
static uint32_t random_below(uint32_t limit) {
	random_state ^= random_state << 13;
	random_state ^= random_state >> 17;
	random_state ^= random_state << 5;
	return random_state % limit;
}

/* What is in the receive ring now, without waiting; how many frames. */
static uint32_t take_all(struct side *side) {
	uint32_t tail = atomic_load(&side->rx->tail), head = atomic_load(&side->rx->head), length, count = 0;
	while (ring_at(side->rx, &tail, head, &length) != NULL) {
		tail += record_size(length);
		count++;
	}
	atomic_store(&side->rx->tail, head);
	return count;
}

struct inflow {
	struct side *side;
	uint64_t injected;
};

static int is_all_counted(void *of) {
	struct inflow *in = of;
	return stat_of(in->side, VMN_RX_FRAMES) + stat_of(in->side, VMN_RX_DROPPED) == in->injected;
}

/* A read that has failed is made up for at the next event. */
static int all_has_come(struct inflow *in) {
	static const uint8_t frame[60];
	fake_fail(FAKE_READ, 0, 0);
	in->injected += (uint64_t)fake_inject(frame, sizeof frame);
	return comes_true(is_all_counted, in);
}

/* Frames in both directions, a host that has room or not and refuses at random: each is delivered or counted as lost. */
static void every_frame_is_delivered_or_counted(void) {
	static uint8_t frame[2000];
	struct side side = begin(SHARED, SMALL * 4, SMALL * 4);
	CHECK(side.id >= 0);
	struct inflow in = {&side, 0};
	uint64_t got = 0, put_count = 0, taken = 0;
	int64_t sent = 0;
	for (int i = 0; i < 20000; i++) {
		uint32_t at, what = random_below(100);
		if (what < 40) {
			in.injected += (uint64_t)fake_inject(frame, 14 + random_below(1500));
		} else if (what < 80) {
			uint32_t length = random_below(1600);
			if (ring_reserve(side.tx, length, &at) == NULL) continue;
			put(&side, frame, length);
			put_count++;
		} else if (what < 90) {
			sent += vmn_tx(side.id);
		} else if (what < 94) {
			CHECK(all_has_come(&in));
			got += take_all(&side);
		} else if (what < 97) {
			for (uint32_t most = random_below(40); most > 0 && fake_take(frame, sizeof frame) >= 0; most--) taken++;
		} else if (what == 97) {
			fake_fail(FAKE_WRITE, 1001 + random_below(10), 1 + random_below(3));
		} else if (what == 98) {
			/* fewer in a row than what ends the interface, and none of those that end it at once */
			fake_fail(FAKE_READ, 1006 + random_below(3), 1);
		} else {
			fake_limits(0, random_below(2) * 7, random_below(50));
		}
	}
	CHECK(all_has_come(&in));
	got += take_all(&side);
	CHECK(got == stat_of(&side, VMN_RX_FRAMES));
	CHECK(side.rx->dropped == stat_of(&side, VMN_RX_DROPPED) && side.rx->status == 0);
	sent += vmn_tx(side.id);
	while (fake_take(frame, sizeof frame) >= 0) taken++;
	CHECK((uint64_t)sent == taken && taken == stat_of(&side, VMN_TX_FRAMES));
	CHECK(put_count == taken + stat_of(&side, VMN_TX_DROPPED));
	CHECK(got > 2000 && taken > 2000);
	CHECK(end(&side) == 0);
	NOTHING_LEFT;
}

/* The last test: what the answer would have needed is kept for good. */
static void a_start_that_is_never_answered_fails(void) {
	fake_fail(FAKE_START, 1001, 1);
	struct side side = begin(SHARED, SMALL, SMALL);
	CHECK(side.id == -1001 && tells(&side, "step=start"));
	end(&side);
	CHECK(fake_queues == 1 && fake_interfaces == 0);
}

static const struct {
	const char *name;
	void (*run)(void);
} tests[] = {
#define TEST(name) {#name, name}
	TEST(starts_and_tells),
	TEST(capabilities_follow_the_system),
	TEST(settings_reach_vmnet),
	TEST(wrong_settings_are_refused),
	TEST(statuses_are_told),
	TEST(a_start_that_takes_too_long_is_undone),
	TEST(a_stop_that_takes_too_long_can_be_asked_again),
	TEST(networks_of_macos_26_are_used_when_only_they_can),
	TEST(frames_come_in_order_and_wrap),
	TEST(one_event_brings_all_frames_in_batches),
	TEST(a_full_ring_drops_counts_and_waits_for_nobody),
	TEST(frames_go_out_in_batches),
	TEST(a_frame_that_is_refused_takes_no_other_with_it),
	TEST(a_host_without_room_takes_what_it_can),
	TEST(limits_of_a_call_are_found_out),
	TEST(large_frames_carry_a_header_where_the_system_has_it),
	TEST(an_interface_that_is_gone_is_told_once),
	TEST(broken_records_of_the_caller_do_no_harm),
	TEST(stops_while_frames_rush_in),
	TEST(stops_although_frames_never_end),
	TEST(two_hundred_starts_and_stops_leave_nothing),
	TEST(sixty_four_at_once_and_not_one_more),
	TEST(every_frame_is_delivered_or_counted),
	TEST(a_start_that_is_never_answered_fails),
};

int main(int count, char **words) {
	setvbuf(stdout, NULL, _IOLBF, 0);
	for (size_t i = 0; i < sizeof tests / sizeof tests[0]; i++) {
		int before = failures;
		test_name = tests[i].name;
		if (count > 1 && strcmp(words[1], test_name) != 0) continue;
		fake_reset();
		tests[i].run();
		if (failures == before) printf("ok %s\n", test_name);
	}
	return failures != 0;
}
