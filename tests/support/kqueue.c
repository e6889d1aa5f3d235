/*
 * A model of Darwin's kqueue(2) on Linux' epoll(7), with xnu's struct kevent (bsd/sys/event.h), so that the event loop of
 * macOS can drive real sockets here. Each filter is an epoll of its own, as on Darwin each is told by itself. It models what
 * lib/host/kqueue.ts relies on: EVFILT_READ and EVFILT_WRITE, EV_ADD, EV_DELETE, EV_CLEAR, EV_EOF, udata, timeouts.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>

struct kevent {
	uint64_t ident;
	int16_t filter;
	uint16_t flags;
	uint32_t fflags;
	int64_t data;
	uint64_t udata;
};
_Static_assert(sizeof(struct kevent) == 32, "the layout of Darwin");

enum { READ, WRITE, FILTERS };
#define EV_ADD 0x1
#define EV_DELETE 0x2
#define EV_CLEAR 0x20
#define EV_EOF 0x8000
#define DESCRIPTORS 65536

struct queue {
	int epoll[FILTERS];
	uint64_t udata[FILTERS][DESCRIPTORS];
};
static struct queue *queues[DESCRIPTORS];

int kqueue(void)
{
	struct queue *queue = calloc(1, sizeof *queue);
	int outer = epoll_create1(EPOLL_CLOEXEC);
	for (int i = 0; i < FILTERS; i++) {
		queue->epoll[i] = epoll_create1(EPOLL_CLOEXEC);
		struct epoll_event event = {.events = EPOLLIN};
		epoll_ctl(outer, EPOLL_CTL_ADD, queue->epoll[i], &event);
	}
	queues[outer] = queue;
	return outer;
}

static int change(struct queue *queue, const struct kevent *asked)
{
	int filter = -asked->filter - 1;
	int fd = (int)asked->ident;
	if (filter < 0 || filter >= FILTERS)
		return errno = EINVAL, -1;
	if (asked->flags & EV_DELETE)
		return epoll_ctl(queue->epoll[filter], EPOLL_CTL_DEL, fd, NULL);
	struct epoll_event event = {.events = filter == READ ? EPOLLIN | EPOLLRDHUP : EPOLLOUT, .data.fd = fd};
	if (asked->flags & EV_CLEAR)
		event.events |= EPOLLET;
	queue->udata[filter][fd] = asked->udata;
	if (epoll_ctl(queue->epoll[filter], EPOLL_CTL_ADD, fd, &event) == 0)
		return 0;
	return errno == EEXIST ? epoll_ctl(queue->epoll[filter], EPOLL_CTL_MOD, fd, &event) : -1;
}

static void report(struct queue *queue, int filter, const struct epoll_event *event, struct kevent *out)
{
	int fd = event->data.fd, type = 0, waiting = 0;
	socklen_t size = sizeof type;
	getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size);
	*out = (struct kevent){.ident = fd, .filter = -filter - 1, .udata = queue->udata[filter][fd]};
	if (filter == READ && ioctl(fd, FIONREAD, &waiting) == 0)
		out->data = waiting;
	/* xnu's filters: the error of a datagram socket is only something to read */
	if (type == SOCK_DGRAM)
		return;
	uint32_t ends = filter == READ ? EPOLLRDHUP | EPOLLHUP | EPOLLERR : EPOLLHUP | EPOLLERR;
	if (event->events & ends)
		out->flags |= EV_EOF;
	/* which error it is cannot be asked without taking it away */
	if (event->events & EPOLLERR)
		out->fflags = ECONNRESET;
}

int kevent(int kq, const struct kevent *changes, int changed, struct kevent *out, int room, const struct timespec *limit)
{
	struct queue *queue = queues[kq];
	for (int i = 0; i < changed; i++)
		if (change(queue, &changes[i]) != 0)
			return -1;
	if (room == 0)
		return 0;
	int ms = limit == NULL ? -1 : (int)(limit->tv_sec * 1000 + (limit->tv_nsec + 999999) / 1000000);
	struct epoll_event events[1024];
	int told = epoll_wait(kq, events, FILTERS, ms);
	if (told <= 0)
		return told;
	int count = 0;
	for (int filter = 0; filter < FILTERS; filter++) {
		int most = filter == READ ? (room + 1) / 2 : room - count;
		int ready = epoll_wait(queue->epoll[filter], events, most, 0);
		for (int i = 0; i < ready; i++)
			report(queue, filter, &events[i], &out[count++]);
	}
	return count;
}
