/*
 * The ABI of limanet's native library: one Ethernet interface of the host behind two rings of packet memory.
 *
 * Integers and pointers only, no policy. An int32_t result is >= 0 (done), or the negative of an errno (1..999) or of a
 * vmnet status (1001..1010). `conf` and `out` are text: lines of key=value; `out` is always ended by a
 * zero octet, and cut when it does not fit. Calls for one interface come from one thread at a time.
 */
#ifndef VMN_H
#define VMN_H

#include <stdint.h>

#define VMN_ABI 0x00010000u

/*
 * A ring carries records from one producer to one consumer, each on a thread of its own. Octets 0..191 are the header,
 * little-endian 32-bit words; the data follow. `head` and `tail` count octets ever written and ever freed, modulo 2^32;
 * the place in the data is the count modulo `size`, which is a power of two.
 *
 * A record is {length, 0, payload, padding to 8 octets} and never wraps: length VMN_SKIP says that the next one begins at
 * the start of the data. The payload is, where offloading was agreed upon, a virtio_net_hdr of 12 octets, then the frame.
 *
 * A consumer that has taken all sets `armed` to 1 and looks at `head` once more before it sleeps; a producer that finds
 * it 1 sets it to 0 and rings the bell. A producer without room drops the record and counts it: it never waits.
 */
#define VMN_RING_HEADER 192u
#define VMN_SKIP 0xffffffffu

struct vmn_ring {
	_Atomic uint32_t head; /* producer's */
	uint8_t pad1[60];
	_Atomic uint32_t tail; /* consumer's */
	uint8_t pad2[60];
	_Atomic uint32_t armed;
	_Atomic uint32_t dropped; /* records that found no room */
	_Atomic uint32_t rung;    /* times that the bell was rung */
	uint32_t size;            /* octets of data */
	_Atomic int32_t status;   /* 0, or why nothing comes any more: a negative result as above */
	uint8_t pad3[44];
	uint8_t data[];
};

/* places in what vmn_stats fills */
enum {
	VMN_RX_FRAMES, /* from the host's interface into the ring */
	VMN_RX_OCTETS,
	VMN_RX_DROPPED, /* the ring was full */
	VMN_RX_READS,   /* calls that read frames, one or a batch each */
	VMN_TX_FRAMES,  /* from the ring to the host's interface */
	VMN_TX_OCTETS,
	VMN_TX_DROPPED, /* the interface did not take them */
	VMN_TX_WRITES,
	VMN_BELLS,
	VMN_EVENTS, /* wake-ups of the reading side */
	VMN_STATS = 16,
};

/* VMN_ABI of the library; the upper 16 bits must be those of the caller. */
uint32_t vmn_abi(void);

/*
 * What this process can have here: backend=tap|vmnet, max_batch=N, and
 * tap:   device=0 or the negative errno of opening /dev/net/tun
 * vmnet: network_api=0|1 (macOS 26's networks), virtio_header=0|1
 */
int32_t vmn_caps(char *out, uint32_t cap);

/* The interfaces that can be bridged, a name a line (vmnet; -ENOTSUP elsewhere). */
int32_t vmn_shared_ifs(char *out, uint32_t cap);

/*
 * Starts an interface and returns its id. `rx` and `tx` are memory for the two rings, aligned to 64 octets, which stays in
 * place until vmn_stop has returned 0. Blocks until the interface is up, at most timeout_ms.
 *
 * conf, both: rx=, tx= octets of the rings' data; offload=0|1 (ask for it); timeout_ms= (10000)
 * conf, tap:  tap= name of the interface ("" or without: the system picks one)
 * conf, vmnet: mode=shared|host|bridged, gateway=, end=, mask=, interface=, uuid=, nat66=, identifier=, isolation=0|1,
 *             dhcp=0|1, net_mtu= (macOS 26's networks)
 * out: name=, mtu=, mac=, max_packet=, header=0|12 and what the system told besides; on failure step= (what failed)
 */
int32_t vmn_start(const char *conf, uint32_t len, void *rx, void *tx, char *out, uint32_t cap);

/* The descriptor that becomes readable when the armed receive ring has something; the consumer reads it empty. */
int32_t vmn_bell(int32_t id);

/* Sends what is in the transmit ring, in batches; how many frames went. What the interface refuses is dropped and counted. */
int32_t vmn_tx(int32_t id);

int32_t vmn_stats(int32_t id, uint64_t out[VMN_STATS]);

/* Ends an interface, whose bell is closed. Not 0: the system did not let go in time, and the rings' memory is still its. */
int32_t vmn_stop(int32_t id);

#endif
