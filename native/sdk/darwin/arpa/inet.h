/* Darwin's <arpa/inet.h>, as far as this project uses it, with what it includes (xnu, bsd/netinet, bsd/sys/socket.h). */
#ifndef ARPA_INET_H
#define ARPA_INET_H

#include <stdint.h>

#ifndef SDK_CHECK
#define AF_INET 2
#define AF_INET6 30

struct in_addr {
	uint32_t s_addr;
};
struct in6_addr {
	uint8_t octets[16];
};
#endif

int inet_pton(int family, const char *text, void *address);

#endif
