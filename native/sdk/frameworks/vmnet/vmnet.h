/* vmnet.framework up to macOS 13: what this project uses of it, declared by itself. Newer parts: network.h. */
#ifndef LIMANET_VMNET_H
#define LIMANET_VMNET_H

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include <dispatch/dispatch.h>
#include <xpc/xpc.h>

#ifndef SDK_CHECK
typedef uint32_t vmnet_return_t;
enum {
	VMNET_SUCCESS = 1000,
	VMNET_FAILURE,
	VMNET_MEM_FAILURE,
	VMNET_INVALID_ARGUMENT,
	VMNET_SETUP_INCOMPLETE,
	VMNET_INVALID_ACCESS,
	VMNET_PACKET_TOO_BIG,
	VMNET_BUFFER_EXHAUSTED,
	VMNET_TOO_MANY_PACKETS,
	VMNET_SHARING_SERVICE_BUSY,
	VMNET_NOT_AUTHORIZED,
};

enum {
	VMNET_HOST_MODE = 1000,
	VMNET_SHARED_MODE,
	VMNET_BRIDGED_MODE,
};

typedef uint32_t interface_event_t;
enum { VMNET_INTERFACE_PACKETS_AVAILABLE = 1 };

typedef struct vmnet_interface *interface_ref;

struct vmpktdesc {
	size_t vm_pkt_size;
	struct iovec *vm_pkt_iov;
	uint32_t vm_pkt_iovcnt;
	uint32_t vm_flags;
};
#endif

extern const char *const vmnet_operation_mode_key;
extern const char *const vmnet_interface_id_key;
extern const char *const vmnet_start_address_key;
extern const char *const vmnet_end_address_key;
extern const char *const vmnet_subnet_mask_key;
extern const char *const vmnet_shared_interface_name_key;
extern const char *const vmnet_nat66_prefix_key;
extern const char *const vmnet_network_identifier_key;
extern const char *const vmnet_host_ip_address_key;
extern const char *const vmnet_host_subnet_mask_key;
extern const char *const vmnet_enable_isolation_key;
extern const char *const vmnet_enable_tso_key;
extern const char *const vmnet_mtu_key;
extern const char *const vmnet_max_packet_size_key;
extern const char *const vmnet_mac_address_key;

interface_ref vmnet_start_interface(xpc_object_t description, dispatch_queue_t queue,
	void (^done)(vmnet_return_t status, xpc_object_t parameters));
vmnet_return_t vmnet_interface_set_event_callback(interface_ref interface, interface_event_t events,
	dispatch_queue_t queue, void (^callback)(interface_event_t events, xpc_object_t event));
vmnet_return_t vmnet_stop_interface(interface_ref interface, dispatch_queue_t queue, void (^done)(vmnet_return_t status));
vmnet_return_t vmnet_read(interface_ref interface, struct vmpktdesc *packets, int *count);
vmnet_return_t vmnet_write(interface_ref interface, struct vmpktdesc *packets, int *count);
xpc_object_t vmnet_copy_shared_interface_list(void);

#endif
