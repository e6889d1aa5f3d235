#include "network.h"

#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "completion.h"
#include "settings.h"

#define LIBRARY_HAS(name) __typeof__(&name) call_##name = (__typeof__(&name))dlsym(RTLD_DEFAULT, #name)
#define PREFIX_LENGTH 64

int network_is_known(void) {
	return dlsym(RTLD_DEFAULT, "vmnet_network_create") != NULL;
}

static vmnet_return_t set_subnet(vmnet_network_configuration_ref configuration, const struct conf *conf) {
	LIBRARY_HAS(vmnet_network_configuration_set_ipv4_subnet);
	char gateway[SETTING_SIZE], mask[SETTING_SIZE];
	struct in_addr address, bits;
	if (conf_text(conf, "gateway", gateway, sizeof gateway) == 0) return VMNET_SUCCESS;
	if (conf_text(conf, "mask", mask, sizeof mask) <= 0 || inet_pton(AF_INET, gateway, &address) != 1 ||
		inet_pton(AF_INET, mask, &bits) != 1)
		return VMNET_INVALID_ARGUMENT;
	/* the gateway's address, not the subnet's: with that some systems fail to start the interface later */
	return call_vmnet_network_configuration_set_ipv4_subnet(configuration, &address, &bits);
}

static vmnet_return_t set_prefix(vmnet_network_configuration_ref configuration, const struct conf *conf) {
	LIBRARY_HAS(vmnet_network_configuration_set_ipv6_prefix);
	char text[SETTING_SIZE];
	struct in6_addr prefix;
	if (conf_text(conf, "nat66", text, sizeof text) == 0) return VMNET_SUCCESS;
	if (inet_pton(AF_INET6, text, &prefix) != 1) return VMNET_INVALID_ARGUMENT;
	return call_vmnet_network_configuration_set_ipv6_prefix(configuration, &prefix, PREFIX_LENGTH);
}

static vmnet_return_t set_rest(vmnet_network_configuration_ref configuration, const struct conf *conf) {
	LIBRARY_HAS(vmnet_network_configuration_set_external_interface);
	LIBRARY_HAS(vmnet_network_configuration_set_mtu);
	LIBRARY_HAS(vmnet_network_configuration_disable_dhcp);
	char interface[SETTING_SIZE];
	uint32_t mtu = conf_number(conf, "net_mtu", 0);
	vmnet_return_t status = VMNET_SUCCESS;
	if (conf_number(conf, "dhcp", 1) == 0) call_vmnet_network_configuration_disable_dhcp(configuration);
	if (mtu != 0) status = call_vmnet_network_configuration_set_mtu(configuration, mtu);
	if (status == VMNET_SUCCESS && conf_text(conf, "interface", interface, sizeof interface) > 0)
		status = call_vmnet_network_configuration_set_external_interface(configuration, interface);
	return status;
}

void network_release(vmnet_network_ref network) {
	/* a CoreFoundation object */
	void (*release)(const void *) = (void (*)(const void *))dlsym(RTLD_DEFAULT, "CFRelease");
	if (release != NULL) release(network);
}

/* What the thread that makes the network shares with the one that waits for it; the later of the two frees it. */
struct making {
	struct completion made;
	dispatch_queue_t queue;
	vmnet_network_configuration_ref configuration;
	vmnet_network_ref network;
};

static void making_end(struct making *making) {
	if (making->configuration != NULL) network_release((vmnet_network_ref)(void *)making->configuration);
	if (making->queue != NULL) dispatch_release(making->queue);
	completion_end(&making->made);
	free(making);
}

static void make(struct making *making) {
	LIBRARY_HAS(vmnet_network_create);
	vmnet_return_t status = VMNET_FAILURE;
	making->network = call_vmnet_network_create(making->configuration, &status);
	if (completion_tell(&making->made, status)) return;
	if (making->network != NULL) network_release(making->network);
	making_end(making);
}

static int32_t configure(struct making *making, const struct conf *conf) {
	LIBRARY_HAS(vmnet_network_configuration_create);
	vmnet_return_t status = VMNET_FAILURE;
	making->configuration = call_vmnet_network_configuration_create(setting_mode(conf), &status);
	if (making->configuration == NULL) return -(int32_t)status;
	status = set_subnet(making->configuration, conf);
	if (status == VMNET_SUCCESS) status = set_prefix(making->configuration, conf);
	if (status == VMNET_SUCCESS) status = set_rest(making->configuration, conf);
	return status == VMNET_SUCCESS ? 0 : -(int32_t)status;
}

vmnet_network_ref network_create(const struct conf *conf, uint32_t timeout_ms, int32_t *result) {
	vmnet_network_ref network = NULL;
	struct making *making = calloc(1, sizeof *making);
	*result = -ENOMEM;
	if (making == NULL) return NULL;
	making->queue = dispatch_queue_create("limanet.network", DISPATCH_QUEUE_SERIAL);
	if (making->queue == NULL || completion_begin(&making->made) < 0) goto end;
	*result = network_is_known() ? configure(making, conf) : -ENOTSUP;
	if (*result < 0) goto end;
	dispatch_async(making->queue, ^{
		make(making);
	});
	*result = completion_wait(&making->made, timeout_ms);
	if (*result < 0 && completion_give_up(&making->made)) return NULL;
	network = making->network;
	*result = network == NULL ? -(int32_t)making->made.status : 0;
end:
	making_end(making);
	return network;
}

interface_ref network_start_interface(vmnet_network_ref network, xpc_object_t description, dispatch_queue_t queue,
	void (^done)(vmnet_return_t status, xpc_object_t parameters)) {
	LIBRARY_HAS(vmnet_interface_start_with_network);
	return call_vmnet_interface_start_with_network(network, description, queue, done);
}
