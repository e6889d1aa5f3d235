/* A QEMU process in the place of a virtual machine of Virtualization.framework. */
#ifndef FAKE_QEMU_H
#define FAKE_QEMU_H

struct qemu;

struct qemu *qemu_new(unsigned long cpus, unsigned long memory_mib);
void qemu_kernel(struct qemu *qemu, const char *kernel, const char *initrd, const char *command_line);
void qemu_disk(struct qemu *qemu, const char *path, int read_only);
/* A network card; the descriptor is the other end of its datagram socket. */
int qemu_card(struct qemu *qemu, const char *mac);
/* `ended` is called on another thread when the guest has powered off. */
void qemu_start(struct qemu *qemu, int serial, void (^ended)(void));
void qemu_power_button(struct qemu *qemu);
void qemu_end(struct qemu *qemu);

#endif
