/*
 * The ABI of limanet's Virtualization.framework library (macOS 13 or later): virtual machines behind small numbers.
 *
 * Integers, pointers and text only, no policy. An int32_t result is >= 0 (done) or a negative errno; `out` then has a line
 * error=SENTENCE. `conf` and `out` are lines of key=value; `out` is always ended by a zero octet, and cut when it does not
 * fit. All calls of a process come from one thread. What takes time ends with an event; no call waits for one.
 */
#ifndef VZ_H
#define VZ_H

#include <stdint.h>

#define VZ_ABI 0x00010000u

/* VZ_ABI of the library; the upper 16 bits must be those of the caller. */
uint32_t vz_abi(void);

/* What this process can have here: supported=0|1, min_cpus, max_cpus, min_memory, max_memory (MiB). */
int32_t vz_caps(char *out, uint32_t cap);

/*
 * Makes a machine that does not run yet and gives its number. Keys, N counting from 0 without gaps:
 *
 *   cpus, memory (MiB)
 *   kernel, initrd, cmdline   direct boot; without kernel EFI boots:
 *   efi                       file of the EFI variables, made when it is not there
 *   machine_id                file of the machine's identifier, made when it is not there
 *   disk.N                    raw image; disk.N.readonly=1
 *   serial                    descriptor that the guest's console writes to
 *   nic.N                     fd:NUMBER (an end of a pair of unix datagram sockets) or nat
 *   nic.N.mac, nic.N.mtu      mtu above 1500 with fd only
 *
 * Every machine has an entropy device, a memory balloon and a vsock device. Descriptors stay the caller's, which may close
 * them afterwards.
 */
int32_t vz_open(const char *conf, uint32_t len, char *out, uint32_t cap);

/*
 * Readable while there are events: one octet or more are read, then vz_event is asked until it says 0. A read waits. At its
 * end the machine was closed, and the caller closes it.
 */
int32_t vz_bell(int32_t machine);

/*
 * Takes the next event; 0: there is none. The first line is event=WORD:
 *
 *   started, start-failed (error)
 *   stopped                        the guest has powered off, or vz_stop is done
 *   failed (error)                 the machine has ended by an error
 *   stop-failed (error)            of vz_request_stop or vz_stop
 *   nic-lost (nic, error)          what it was attached to has gone; the guest has it still
 *   vsock (ticket, fd | error)     the descriptor is the caller's
 */
int32_t vz_event(int32_t machine, char *out, uint32_t cap);

int32_t vz_start(int32_t machine);
/* Presses the power button. */
int32_t vz_request_stop(int32_t machine);
/* Pulls the plug. */
int32_t vz_stop(int32_t machine);

/* Attaches a network card anew: `conf` has nic and mtu, as nic.N above. */
int32_t vz_attach(int32_t machine, uint32_t nic, const char *conf, uint32_t len, char *out, uint32_t cap);

/* Connects to a port of the guest; the result is the ticket of the event that tells of it. */
int32_t vz_connect(int32_t machine, uint32_t port);

/* Gives the number back. A machine that runs ends as if its plug were pulled. */
int32_t vz_close(int32_t machine);

#endif
