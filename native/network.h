/* The networks of macOS 26, looked up by name when the program runs: an older system has none. */
#ifndef NETWORK_H
#define NETWORK_H

#include <vmnet/vmnet.h>

#if !defined(__MAC_OS_X_VERSION_MAX_ALLOWED) || __MAC_OS_X_VERSION_MAX_ALLOWED < 260000
/* by its place: an SDK that is older than the networks has no such file */
#include "sdk/frameworks/vmnet/network.h"
#endif

#include "text.h"

int network_is_known(void);

/*
 * Makes the network of some settings (mode: shared or host, gateway, mask, nat66, interface, dhcp, net_mtu); NULL with the reason, a
 * negative result of the ABI. Waits at most so long: some macOS 27 never returns from it.
 */
vmnet_network_ref network_create(const struct conf *conf, uint32_t timeout_ms, int32_t *result);

interface_ref network_start_interface(vmnet_network_ref network, xpc_object_t description, dispatch_queue_t queue,
	void (^done)(vmnet_return_t status, xpc_object_t parameters));

void network_release(vmnet_network_ref network);

#endif
