/* relay - takes two connections on a unix socket, and hands on to each what the other one sends.
 *
 *   relay SOCKET
 *
 * One receive of up to 256 KiB, one send, and a wait when there is nothing: what a daemon costs that looks at no frame.
 * With a pump at both ends it tells about how fast a daemon between two guests can be. Ends when a connection does. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static char octets[256 * 1024];

static int die(const char *what) {
  fprintf(stderr, "relay: %s: %s\n", what, strerror(errno));
  return 1;
}

/* false: one of the connections is over */
static int hand_on(int from, int to) {
  ssize_t got = recv(from, octets, sizeof octets, MSG_DONTWAIT);
  if (got < 0) return errno == EAGAIN;
  for (ssize_t at = 0; at < got;) {
    ssize_t sent = send(to, octets + at, got - at, MSG_NOSIGNAL);
    if (sent < 0) return 0;
    at += sent;
  }
  return got > 0;
}

int main(int count, char **words) {
  struct sockaddr_un name = {.sun_family = AF_UNIX};
  /* what limanet gives the socket of a guest */
  int buffer = 1024 * 1024, ends[2];
  if (count != 2 || strlen(words[1]) >= sizeof name.sun_path) {
    fprintf(stderr, "usage: relay SOCKET\n");
    return 2;
  }
  strcpy(name.sun_path, words[1]);
  int listening = socket(AF_UNIX, SOCK_STREAM, 0), waiting = epoll_create1(0);
  if (bind(listening, (struct sockaddr *)&name, sizeof name) < 0 || listen(listening, 2) < 0) return die(words[1]);
  for (int i = 0; i < 2; i++) {
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = i};
    if ((ends[i] = accept(listening, NULL, NULL)) < 0) return die("accept");
    setsockopt(ends[i], SOL_SOCKET, SO_SNDBUF, &buffer, sizeof buffer);
    if (epoll_ctl(waiting, EPOLL_CTL_ADD, ends[i], &event) < 0) return die("epoll_ctl");
  }
  for (;;) {
    struct epoll_event events[2];
    int ready = epoll_wait(waiting, events, 2, -1);
    for (int i = 0; i < ready; i++)
      if (!hand_on(ends[events[i].data.u32], ends[!events[i].data.u32])) return 0;
  }
}
