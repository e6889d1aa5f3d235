/*
 * vmnet.framework's networks of macOS 26: what this project uses of them, declared by itself. They are looked up when the
 * program runs, so only the types of the declarations count. (A mode is an enumeration, which SDKs before 26 name otherwise.)
 */
#ifndef LIMANET_VMNET_NETWORK_H
#define LIMANET_VMNET_NETWORK_H

#ifndef SDK_CHECK
typedef struct vmnet_network *vmnet_network_ref;
typedef struct vmnet_network_configuration *vmnet_network_configuration_ref;
struct in_addr;
struct in6_addr;
#endif

vmnet_network_configuration_ref vmnet_network_configuration_create(uint32_t mode, vmnet_return_t *status);
vmnet_return_t vmnet_network_configuration_set_ipv4_subnet(vmnet_network_configuration_ref configuration,
	const struct in_addr *address, const struct in_addr *mask);
vmnet_return_t vmnet_network_configuration_set_ipv6_prefix(vmnet_network_configuration_ref configuration,
	const struct in6_addr *prefix, uint8_t length);
vmnet_return_t vmnet_network_configuration_set_external_interface(vmnet_network_configuration_ref configuration,
	const char *name);
vmnet_return_t vmnet_network_configuration_set_mtu(vmnet_network_configuration_ref configuration, uint32_t mtu);
void vmnet_network_configuration_disable_dhcp(vmnet_network_configuration_ref configuration);
vmnet_network_ref vmnet_network_create(vmnet_network_configuration_ref configuration, vmnet_return_t *status);
interface_ref vmnet_interface_start_with_network(vmnet_network_ref network, xpc_object_t description,
	dispatch_queue_t queue, void (^done)(vmnet_return_t status, xpc_object_t parameters));

#endif
