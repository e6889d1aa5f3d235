/* A link between two TAP devices that loses and delays frames, for kernels without netem.
 *
 *   lossylink NETNS-A TAP-A NETNS-B TAP-B MAC-B MTU LOSS-PERCENT DELAY-MS
 *
 * Makes TAP-A in NETNS-A and TAP-B (hardware address MAC-B) in NETNS-B, prints "ready", and carries frames both ways,
 * each way for itself: a frame is lost with the given probability, and what is left arrives DELAY-MS later, in order. The
 * losses come from a generator that begins the same in every run. At most 1000 frames are under way each way, as with
 * netem. Ends on SIGTERM.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MAX_FRAME 65600
#define MAX_FRAMES 1000

struct frame {
	double due;
	ssize_t length;
	uint8_t *octets;
};
struct way {
	int from, to;
	uint64_t random;
};
static double loss, delay;

static void die(const char *what) {
	perror(what);
	exit(1);
}

static double now(void) {
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

static int make_tap(const char *space, const char *name, const char *mac, int mtu) {
	int fd = open(space, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || setns(fd, CLONE_NEWNET)) die(space);
	close(fd);
	int tap = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI};
	snprintf(request.ifr_name, IFNAMSIZ, "%s", name);
	if (tap < 0 || ioctl(tap, TUNSETIFF, &request)) die("/dev/net/tun");
	int s = socket(AF_INET, SOCK_DGRAM, 0);
	if (mac) {
		unsigned m[6];
		if (sscanf(mac, "%x:%x:%x:%x:%x:%x", m, m + 1, m + 2, m + 3, m + 4, m + 5) != 6) die(mac);
		request.ifr_hwaddr.sa_family = ARPHRD_ETHER;
		for (int i = 0; i < 6; i++) request.ifr_hwaddr.sa_data[i] = m[i];
		if (ioctl(s, SIOCSIFHWADDR, &request)) die("hardware address");
	}
	request.ifr_mtu = mtu;
	if (ioctl(s, SIOCSIFMTU, &request)) die("MTU");
	request.ifr_flags = IFF_UP | IFF_RUNNING;
	if (ioctl(s, SIOCSIFFLAGS, &request)) die("up");
	close(s);
	return tap;
}

static int is_lost(struct way *way) {
	way->random ^= way->random << 13;
	way->random ^= way->random >> 7;
	way->random ^= way->random << 17;
	return (way->random >> 11) * 0x1p-53 < loss;
}

__attribute__((noreturn)) static void *carry(void *argument) {
	struct way *way = argument;
	static _Thread_local uint8_t octets[MAX_FRAME];
	struct frame *frames = calloc(MAX_FRAMES, sizeof *frames);
	int first = 0, count = 0;
	for (;;) {
		struct pollfd ready = {way->from, POLLIN, 0};
		double wait = count ? frames[first].due - now() : 3600;
		if (wait > 0) {
			struct timespec limit = {wait, (wait - (long)wait) * 1e9};
			ppoll(&ready, 1, &limit, NULL);
		}
		for (ssize_t length; (length = read(way->from, octets, sizeof octets)) > 0;) {
			if (is_lost(way) || count == MAX_FRAMES) continue;
			struct frame *frame = &frames[(first + count++) % MAX_FRAMES];
			frame->due = now() + delay;
			frame->length = length;
			frame->octets = realloc(frame->octets, length);
			memcpy(frame->octets, octets, length);
		}
		for (; count && frames[first].due <= now(); count--) {
			if (write(way->to, frames[first].octets, frames[first].length) < 0) { /* the card is full: lost */ }
			first = (first + 1) % MAX_FRAMES;
		}
	}
}

int main(int count, char **words) {
	if (count != 9) {
		fprintf(stderr, "see the head of lossylink.c\n");
		return 1;
	}
	int a = make_tap(words[1], words[2], NULL, atoi(words[6]));
	int b = make_tap(words[3], words[4], words[5], atoi(words[6]));
	loss = atof(words[7]) / 100;
	delay = atof(words[8]) / 1000;
	puts("ready");
	fflush(stdout);
	struct way there = {a, b, 0x9e3779b97f4a7c15}, back = {b, a, 0xbf58476d1ce4e5b9};
	pthread_t thread;
	pthread_create(&thread, NULL, carry, &there);
	carry(&back);
}
