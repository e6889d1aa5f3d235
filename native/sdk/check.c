/*
 * Compiled on a Mac by scripts/check-sdk, never into anything: Apple's headers, then ours. A prototype of ours that is not
 * Apple's does not compile, and neither does a size, an offset or a number that differs. (vz.m is compiled with Apple's
 * headers there, which is its check.)
 */
#include <arpa/inet.h>
#include <dispatch/dispatch.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>
#include <vmnet/vmnet.h>
#include <xpc/xpc.h>

#define SDK_CHECK
#include "darwin/arpa/inet.h"
#include "darwin/dlfcn.h"
#include "darwin/errno.h"
#include "darwin/fcntl.h"
#include "darwin/pthread.h"
#include "darwin/stdio.h"
#include "darwin/stdlib.h"
#include "darwin/string.h"
#include "darwin/sys/types.h"
#include "darwin/sys/uio.h"
#include "darwin/unistd.h"
#include "frameworks/dispatch/dispatch.h"
#include "frameworks/vmnet/vmnet.h"
#include "frameworks/xpc/xpc.h"
#if __MAC_OS_X_VERSION_MAX_ALLOWED >= 260000
#include "frameworks/vmnet/network.h"
#endif

#define SAME(what, value) _Static_assert((what) == (value), #what)

SAME(VMNET_SUCCESS, 1000);
SAME(VMNET_FAILURE, 1001);
SAME(VMNET_MEM_FAILURE, 1002);
SAME(VMNET_INVALID_ARGUMENT, 1003);
SAME(VMNET_SETUP_INCOMPLETE, 1004);
SAME(VMNET_INVALID_ACCESS, 1005);
SAME(VMNET_PACKET_TOO_BIG, 1006);
SAME(VMNET_BUFFER_EXHAUSTED, 1007);
SAME(VMNET_TOO_MANY_PACKETS, 1008);
SAME(VMNET_SHARING_SERVICE_BUSY, 1009);
SAME(VMNET_NOT_AUTHORIZED, 1010);
SAME(VMNET_HOST_MODE, 1000);
SAME(VMNET_SHARED_MODE, 1001);
SAME(VMNET_BRIDGED_MODE, 1002);
SAME(VMNET_INTERFACE_PACKETS_AVAILABLE, 1);
SAME(sizeof(vmnet_return_t), 4);
SAME(sizeof(interface_event_t), 4);
SAME(sizeof(interface_ref), 8);
SAME(sizeof(struct vmpktdesc), 24);
SAME(sizeof(((struct vmpktdesc *)0)->vm_pkt_size), 8);
SAME(offsetof(struct vmpktdesc, vm_pkt_iov), 8);
SAME(offsetof(struct vmpktdesc, vm_pkt_iovcnt), 16);
SAME(offsetof(struct vmpktdesc, vm_flags), 20);
SAME(sizeof(struct iovec), 16);
SAME(offsetof(struct iovec, iov_len), 8);
SAME(sizeof(dispatch_time_t), 8);
SAME(DISPATCH_TIME_NOW, 0);
SAME(DISPATCH_TIME_FOREVER, ~0ull);
SAME(NSEC_PER_MSEC, 1000000);
SAME(sizeof(uuid_t), 16);
SAME(sizeof(xpc_object_t), 8);
SAME(sizeof(ssize_t), 8);
SAME(sizeof(pthread_mutex_t), 64);
SAME(sizeof(struct in_addr), 4);
SAME(sizeof(struct in6_addr), 16);

#ifdef _PTHREAD_MUTEX_SIG_init
SAME(_PTHREAD_MUTEX_SIG_init, 0x32AAABA7);
#endif

/* a pointer is no constant expression, but the size of an array may be folded */
#pragma clang diagnostic ignored "-Wgnu-folding-constant"
extern char rtld_default_is_minus_2[(long)RTLD_DEFAULT == -2 ? 1 : -1];
