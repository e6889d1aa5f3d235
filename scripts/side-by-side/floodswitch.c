/*
 * A switch of the simplest kind between a TAP device and clients of a unix stream socket, for comparison: a thread for each
 * client that reads length and frame by two calls, every frame written by itself, to everybody (specification of vmnet, 2.2).
 *
 *   floodswitch TAP SOCKET       prints "ready" when clients may come
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#define CLIENTS 64
#define FRAME 65536

static int tap, clients[CLIENTS];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void flood(const uint8_t *frame, size_t length, int from) {
	uint32_t prefix = htonl((uint32_t)length);
	struct iovec pieces[] = {{&prefix, sizeof prefix}, {(void *)frame, length}};
	pthread_mutex_lock(&lock);
	for (int i = 0; i < CLIENTS; i++)
		if (clients[i] >= 0 && clients[i] != from && writev(clients[i], pieces, 2) < 0) clients[i] = -1;
	pthread_mutex_unlock(&lock);
}

static int read_all(int fd, void *to, size_t length) {
	for (size_t have = 0; have < length;) {
		ssize_t got = read(fd, (uint8_t *)to + have, length - have);
		if (got <= 0) return -1;
		have += (size_t)got;
	}
	return 0;
}

static void *serve(void *of) {
	int fd = (int)(intptr_t)of;
	uint8_t frame[FRAME];
	uint32_t prefix;
	while (read_all(fd, &prefix, sizeof prefix) == 0) {
		size_t length = ntohl(prefix);
		if (length > FRAME || read_all(fd, frame, length) < 0) break;
		if (write(tap, frame, length) < 0) continue;
		flood(frame, length, fd);
	}
	pthread_mutex_lock(&lock);
	for (int i = 0; i < CLIENTS; i++)
		if (clients[i] == fd) clients[i] = -1;
	pthread_mutex_unlock(&lock);
	close(fd);
	return NULL;
}

static void *pump(void *none) {
	uint8_t frame[FRAME];
	for (ssize_t got; (got = read(tap, frame, sizeof frame)) > 0;) flood(frame, (size_t)got, -1);
	return none;
}

int main(int count, char **words) {
	struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI};
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	pthread_t thread;
	int listener = socket(AF_UNIX, SOCK_STREAM, 0);
	if (count != 3) return 2;
	signal(SIGPIPE, SIG_IGN);
	memset(clients, -1, sizeof clients);
	snprintf(request.ifr_name, sizeof request.ifr_name, "%s", words[1]);
	snprintf(at.sun_path, sizeof at.sun_path, "%s", words[2]);
	tap = open("/dev/net/tun", O_RDWR);
	if (tap < 0 || ioctl(tap, TUNSETIFF, &request) < 0 || bind(listener, (struct sockaddr *)&at, sizeof at) < 0 || listen(listener, CLIENTS) < 0) {
		perror("floodswitch");
		return 1;
	}
	pthread_create(&thread, NULL, pump, NULL);
	puts("ready");
	fflush(stdout);
	for (int fd; (fd = accept(listener, NULL, NULL)) >= 0;) {
		pthread_mutex_lock(&lock);
		for (int i = 0; i < CLIENTS; i++)
			if (clients[i] < 0) {
				clients[i] = fd;
				break;
			}
		pthread_mutex_unlock(&lock);
		pthread_create(&thread, NULL, serve, (void *)(intptr_t)fd);
		pthread_detach(thread);
	}
	return 1;
}
