/* vhostcard.h - the other end of vhost-user for tapstream: as a virtual machine would, it gives a daemon its memory and two
 * split virtqueues (OASIS virtio 1.2, section 2.7), and as a guest's driver would, it lists buffers in them. Frames come from
 * a TAP device with IFF_VNET_HDR, so that large TCP segments go to the daemon as one frame with a virtio header.
 *
 * One queue has one thread. Buffers of the transmit queue hold a whole frame each, those of the receive queue 4 KiB: larger
 * frames come in several (VIRTIO_NET_F_MRG_RXBUF). Indices of a ring are 16 bits and run freely. As Linux' driver does, this
 * one names the index at which it wants to be woken (VIRTIO_F_EVENT_IDX), and takes the buffer that came back last first,
 * which is still in the processor's cache.
 */
#include <linux/memfd.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/uio.h>

#define VQ_SIZE 256
#define VQ_RX_BUFFER 4096
#define VQ_TX_BUFFER 65664
/* where the guest believes its memory to be */
#define VQ_GUEST_BASE 0x140000000ull
#define VQ_HEADER 12
#define VQ_EVENT_IDX 29

struct vq_desc { uint64_t addr; uint32_t len; uint16_t flags, next; };
struct vq_avail { uint16_t flags, idx, ring[VQ_SIZE], used_event; };
struct vq_used { uint16_t flags, idx; struct { uint32_t id, len; } ring[VQ_SIZE]; uint16_t avail_event; };
struct vq {
  struct vq_desc desc[VQ_SIZE];
  struct vq_avail avail __attribute__((aligned(64)));
  struct vq_used used __attribute__((aligned(64)));
};
/* rx is queue 0 */
struct vq_memory {
  struct vq rx, tx;
  uint8_t rx_buffers[VQ_SIZE][VQ_RX_BUFFER] __attribute__((aligned(4096)));
  uint8_t tx_buffers[VQ_SIZE][VQ_TX_BUFFER];
};
static struct vq_memory *vm;
static int vq_kick[2], vq_call[2], vhost_sock;
static uint64_t vhost_features;

static void vhost_die(const char *m) { fprintf(stderr, "tapstream: vhost-user: %s: %s\n", m, strerror(errno)); exit(1); }
static uint64_t vq_guest(const void *p) { return VQ_GUEST_BASE + (uint64_t)((const uint8_t *)p - (const uint8_t *)vm); }

static uint64_t vhost_ask(uint32_t request, const void *body, uint32_t length, int fd, int answered) {
  struct { uint32_t request, flags, size; uint8_t body[64]; } m = {request, 1, length, {0}};
  if (length) memcpy(m.body, body, length);
  char control[CMSG_SPACE(sizeof(int))] = {0};
  struct iovec v = {&m, 12 + length};
  struct msghdr h = {.msg_iov = &v, .msg_iovlen = 1};
  if (fd >= 0) {
    h.msg_control = control;
    h.msg_controllen = sizeof control;
    struct cmsghdr *c = CMSG_FIRSTHDR(&h);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof fd);
    memcpy(CMSG_DATA(c), &fd, sizeof fd);
  }
  if (answered == 2) m.flags |= 8;
  if (sendmsg(vhost_sock, &h, MSG_NOSIGNAL) != (ssize_t)v.iov_len) vhost_die("send");
  if (!answered) return 0;
  struct { uint32_t request, flags, size; uint64_t value; } __attribute__((packed)) r;
  if (recv(vhost_sock, &r, sizeof r, MSG_WAITALL) != sizeof r || r.request != request) vhost_die("no answer");
  return r.value;
}
static void vhost_ask_word(uint32_t request, uint64_t word, int fd) { vhost_ask(request, &word, sizeof word, fd, 0); }

static void vhost_queue(uint32_t index, struct vq *q) {
  vq_kick[index] = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  vq_call[index] = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  if (vq_kick[index] < 0 || vq_call[index] < 0) vhost_die("eventfd");
  struct { uint32_t index, num; } size = {index, VQ_SIZE}, base = {index, 0}, enable = {index, 1};
  struct { uint32_t index, flags; uint64_t desc, used, avail, log; } areas = {
    index, 0, (uint64_t)(uintptr_t)q->desc, (uint64_t)(uintptr_t)&q->used, (uint64_t)(uintptr_t)&q->avail, 0};
  vhost_ask(8, &size, sizeof size, -1, 0);
  vhost_ask(10, &base, sizeof base, -1, 0);
  vhost_ask(9, &areas, sizeof areas, -1, 0);
  vhost_ask_word(12, index, vq_kick[index]);
  vhost_ask_word(13, index, vq_call[index]);
  vhost_ask(18, &enable, sizeof enable, -1, 2);
}

static void vhost_setup(int sock) {
  vhost_sock = sock;
  size_t size = (sizeof *vm + 4095) & ~(size_t)4095;
  int fd = memfd_create("card", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (fd < 0 || ftruncate(fd, size) || fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW)) vhost_die("memfd");
  vm = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (vm == MAP_FAILED) vhost_die("mmap");
  uint64_t wanted = 1ull << 0 | 1ull << 1 | 1ull << 7 | 1ull << 11 | 1ull << 12 | 1ull << 15 | 1ull << VQ_EVENT_IDX | 1ull << 30 | 1ull << 32;
  vhost_features = vhost_ask(1, NULL, 0, -1, 1) & wanted;
  if (vhost_ask(15, NULL, 0, -1, 1) & 8) vhost_ask_word(16, 8, -1);
  vhost_ask(3, NULL, 0, -1, 0);
  vhost_ask_word(2, vhost_features, -1);
  struct { uint32_t count, padding; uint64_t guest, size, user, offset; } table = {
    1, 0, VQ_GUEST_BASE, size, (uint64_t)(uintptr_t)vm, 0};
  vhost_ask(5, &table, sizeof table, fd, 2);
  close(fd);
  for (int i = 0; i < VQ_SIZE; i++) {
    vm->rx.desc[i] = (struct vq_desc){vq_guest(vm->rx_buffers[i]), VQ_RX_BUFFER, 2, 0};
    vm->rx.avail.ring[i] = i;
  }
  vm->rx.avail.idx = VQ_SIZE;
  vhost_queue(0, &vm->rx);
  vhost_queue(1, &vm->tx);
}

/* what the TAP device may leave to us, as far as the daemon takes it */
static void vhost_offload(int tap) {
  int length = VQ_HEADER;
  unsigned offload = 0;
  if (vhost_features & 1) offload |= TUN_F_CSUM;
  if (vhost_features & 1ull << 11) offload |= TUN_F_TSO4;
  if (vhost_features & 1ull << 12) offload |= TUN_F_TSO6;
  if (ioctl(tap, TUNSETVNETHDRSZ, &length) || ioctl(tap, TUNSETOFFLOAD, (unsigned long)offload)) vhost_die("TUNSETOFFLOAD");
}

static int vq_passes(uint16_t event, uint16_t now, uint16_t before) {
  return (uint16_t)(now - event - 1) < (uint16_t)(now - before);
}
/* shows the daemon what was listed, and wakes it if it wants to be */
static void vq_list(int index, struct vq *q, uint16_t now) {
  uint64_t one = 1;
  uint16_t before = q->avail.idx;
  __atomic_store_n(&q->avail.idx, now, __ATOMIC_SEQ_CST);
  int wanted = vhost_features & 1ull << VQ_EVENT_IDX ? vq_passes(__atomic_load_n(&q->used.avail_event, __ATOMIC_SEQ_CST), now, before)
                                                     : !(__atomic_load_n(&q->used.flags, __ATOMIC_SEQ_CST) & 1);
  if (wanted && write(vq_kick[index], &one, 8) < 0) {}
}
/* waits until the daemon has given back what makes the index `wanted` */
static void vq_wait(int index, struct vq *q, uint16_t wanted) {
  uint64_t count;
  uint16_t seen = wanted - 1;
  q->avail.flags = 0;
  __atomic_store_n(&q->avail.used_event, seen, __ATOMIC_SEQ_CST);
  while ((int16_t)(__atomic_load_n(&q->used.idx, __ATOMIC_SEQ_CST) - wanted) < 0) {
    struct pollfd p = {vq_call[index], POLLIN, 0};
    poll(&p, 1, -1);
    if (read(vq_call[index], &count, 8) < 0) {}
  }
  q->avail.flags = 1;
}
