/*
 * The Linux back end: a TAP device (Documentation/networking/tuntap.rst), not persistent: it goes with its descriptor.
 *
 * One thread waits for frames of the kernel and reads them straight into the receive ring. Frames to the kernel are
 * written by the caller of vmn_tx: see docs/native.md for what a thread of their own would cost.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "interface.h"

#define DEVICE "/dev/net/tun"
#define LARGEST_RECORD (VIRTIO_HEADER + LARGEST_FRAME)
#define ADDRESS_LENGTH 18

struct tap {
	int fd, wake;
	_Atomic int stopping;
	pthread_t reader;
	/* where a frame is read to when the ring may have no room for it */
	uint8_t spare[LARGEST_RECORD];
};

int32_t backend_caps(struct text *out) {
	int fd = open(DEVICE, O_RDWR | O_CLOEXEC);
	text_put(out, "backend", "tap");
	text_put_number(out, "device", fd < 0 ? -errno : 0);
	text_put_number(out, "max_batch", 1);
	if (fd >= 0) close(fd);
	return 0;
}

int32_t backend_shared_ifs(struct text *out) {
	(void)out;
	return -ENOTSUP;
}

/* One frame, whether or not there is room for it: the kernel's queue must not fill with what nobody can take. */
static ssize_t read_frame(struct interface *it, struct tap *tap) {
	uint32_t at;
	uint8_t *place = ring_reserve(it->rx, LARGEST_RECORD, &at);
	ssize_t got = read(tap->fd, place == NULL ? tap->spare : place, LARGEST_RECORD);
	if (got <= 0) return got < 0 ? -errno : -EIO;
	count(it, VMN_RX_READS, 1);
	if (place != NULL) interface_received(it, at, (uint32_t)got);
	else interface_copy_received(it, tap->spare, (uint32_t)got);
	return got;
}

static void *read_frames(void *of) {
	struct interface *it = of;
	struct tap *tap = it->own;
	struct pollfd waits[] = {{tap->fd, POLLIN, 0}, {tap->wake, POLLIN, 0}};
	for (;;) {
		ssize_t got = 0;
		poll(waits, 2, -1);
		count(it, VMN_EVENTS, 1);
		while (got >= 0 && !atomic_load_explicit(&tap->stopping, memory_order_relaxed)) got = read_frame(it, tap);
		if (atomic_load(&tap->stopping)) return NULL;
		if (got != -EAGAIN && got != -EINTR) {
			interface_ended(it, (int32_t)got);
			return NULL;
		}
	}
}

/* Bun's signal handlers must not run on the reader's thread. */
static int start_reader(struct interface *it, struct tap *tap) {
	sigset_t all, before;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	int result = pthread_create(&tap->reader, NULL, read_frames, it);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return -result;
}

static int make_device(int fd, const struct conf *conf, struct ifreq *request, const char **step) {
	int offload = conf_number(conf, "offload", 0) != 0, header = VIRTIO_HEADER;
	*step = "name";
	if (conf_text(conf, "tap", request->ifr_name, IFNAMSIZ) < 0) return -ENAMETOOLONG;
	request->ifr_flags = (short)(IFF_TAP | IFF_NO_PI | (offload ? IFF_VNET_HDR : 0));
	*step = "interface";
	if (ioctl(fd, TUNSETIFF, request) < 0) return -errno;
	*step = "offload";
	if (!offload) return 0;
	if (ioctl(fd, TUNSETVNETHDRSZ, &header) < 0) return -errno;
	return ioctl(fd, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6) < 0 ? -errno : 0;
}

static void put_address(struct text *out, const uint8_t *mac) {
	static const char digits[] = "0123456789abcdef";
	char address[ADDRESS_LENGTH];
	for (int i = 0; i < 6; i++) {
		address[3 * i] = digits[mac[i] >> 4];
		address[3 * i + 1] = digits[mac[i] & 15];
		address[3 * i + 2] = i < 5 ? ':' : 0;
	}
	text_put(out, "mac", address);
}

static void put_facts(int fd, const struct conf *conf, struct ifreq *request, struct text *out) {
	int offload = conf_number(conf, "offload", 0) != 0;
	int any = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	text_put(out, "name", request->ifr_name);
	if (ioctl(any, SIOCGIFMTU, request) == 0) text_put_number(out, "mtu", request->ifr_mtu);
	if (ioctl(fd, SIOCGIFHWADDR, request) == 0) put_address(out, (uint8_t *)request->ifr_hwaddr.sa_data);
	text_put_number(out, "max_packet", LARGEST_FRAME);
	text_put_number(out, "header", offload ? VIRTIO_HEADER : 0);
	close(any);
}

int32_t backend_start(struct interface *it, const struct conf *conf, struct text *out) {
	struct ifreq request = {0};
	const char *step = "memory";
	int result = -ENOMEM;
	struct tap *tap = calloc(1, sizeof *tap);
	if (tap == NULL) goto failed;
	it->own = tap;
	step = "device";
	tap->wake = -1;
	tap->fd = open(DEVICE, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	result = -errno;
	if (tap->fd < 0) goto free_tap;
	result = make_device(tap->fd, conf, &request, &step);
	if (result < 0) goto close_device;
	step = "thread";
	tap->wake = eventfd(0, EFD_CLOEXEC);
	result = tap->wake < 0 ? -errno : start_reader(it, tap);
	if (result < 0) goto close_device;
	put_facts(tap->fd, conf, &request, out);
	return 0;
close_device:
	if (tap->wake >= 0) close(tap->wake);
	close(tap->fd);
free_tap:
	free(tap);
failed:
	text_put(out, "step", step);
	return result;
}

int32_t backend_tx(struct interface *it) {
	struct tap *tap = it->own;
	uint32_t head = atomic_load_explicit(&it->tx->head, memory_order_acquire);
	uint32_t at = atomic_load_explicit(&it->tx->tail, memory_order_relaxed);
	uint32_t length;
	int32_t sent = 0;
	for (uint8_t *frame; (frame = ring_at(it->tx, &at, head, &length)) != NULL; at += record_size(length)) {
		count(it, VMN_TX_WRITES, 1);
		if (write(tap->fd, frame, length) < 0) {
			/* most often EIO: the interface is down */
			count(it, VMN_TX_DROPPED, 1);
			continue;
		}
		count(it, VMN_TX_OCTETS, length);
		sent++;
	}
	/* whatever could not be read as a record is skipped */
	atomic_store_explicit(&it->tx->tail, head, memory_order_release);
	count(it, VMN_TX_FRAMES, (uint64_t)sent);
	return sent;
}

int32_t backend_stop(struct interface *it) {
	struct tap *tap = it->own;
	static const uint64_t one = 1;
	atomic_store(&tap->stopping, 1);
	if (write(tap->wake, &one, sizeof one) < 0) return -errno;
	pthread_join(tap->reader, NULL);
	close(tap->wake);
	close(tap->fd);
	free(tap);
	return 0;
}
