/*
 * The tests' side of the fake of dispatch, XPC and vmnet: what is the system there is steered and looked at here.
 *
 * The fake has real threads. What it does follows Apple's documentation and what programs on vmnet have met with: answers
 * come later and on the queue, reads and writes take less than they were given, limits are enforced by statuses.
 */
#ifndef FAKE_H
#define FAKE_H

#include <stdatomic.h>
#include <stdint.h>

#define FAKE_EXPORT __attribute__((visibility("default")))

/* objects that are alive */
extern atomic_int fake_queues, fake_semaphores, fake_xpc_objects, fake_interfaces, fake_networks;

/* Puts everything back as it is in the beginning: macOS 26, no failures, no delays. */
FAKE_EXPORT void fake_reset(void);

/* The major version of macOS, which decides what symbols there are (times ten: 154 is 15.4). */
FAKE_EXPORT void fake_macos(uint32_t version);

enum fake_call { FAKE_START, FAKE_START_LATE, FAKE_EVENTS, FAKE_READ, FAKE_WRITE, FAKE_STOP, FAKE_STOP_LATE, FAKE_NETWORK, FAKE_CALLS };

/* The next `times` calls answer with a status; START_LATE and STOP_LATE are the answers on the queue. */
FAKE_EXPORT void fake_fail(uint32_t call, uint32_t status, uint32_t times);

/* How long START_LATE, STOP_LATE and NETWORK take; also of those that are waited for already. */
FAKE_EXPORT void fake_delay(uint32_t call, uint32_t milliseconds);

/* Packets a call of vmnet_read or vmnet_write; packets that the host takes before the test takes them (0: any number). */
FAKE_EXPORT void fake_limits(uint32_t read_packets, uint32_t write_packets, uint32_t queued_packets);

/* No event passes until it is let go; then one tells of all that has come. */
FAKE_EXPORT void fake_hold_events(uint32_t on);

/* Frames that the host sends: to the interface that was started last. False: there is none. */
FAKE_EXPORT int32_t fake_inject(const void *frame, uint32_t length);

/* The oldest frame that was written to the interface that was started last; its length, or -1. */
FAKE_EXPORT int32_t fake_take(void *frame, uint32_t size);

/* A host that sends without end: every read is given as many frames of 60 octets as it asks for. */
FAKE_EXPORT void fake_flood(uint32_t on);

/* Every frame that is written comes back, its two addresses exchanged. */
FAKE_EXPORT void fake_echo(uint32_t on);

/* What the last description said under a key, as text; "" when it said nothing. */
FAKE_EXPORT const char *fake_described(const char *key);

/* What was asked of the last network configuration, one call a line. */
FAKE_EXPORT const char *fake_network_calls(void);

/* The largest number of packets that one call was given. */
FAKE_EXPORT uint32_t fake_largest_read(void), fake_largest_write(void);

#endif
