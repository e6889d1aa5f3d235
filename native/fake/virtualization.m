/*
 * Virtualization.framework for the tests. A machine whose command line says fake.qemu is a QEMU process (qemu.c); any other
 * has a guest of a few lines: it answers every frame with the same payload, echoes on vsock port 22 (QEMU has none), says "console" on its serial port, powers off
 * when its button is pressed (not with fake.deaf on its command line), does not start with fake.broken, and obeys frames
 * whose payload begins with one of these words: LOST (its attachment breaks), HALT (it powers off), FAIL (it ends by an error).
 */
#import <Virtualization/Virtualization.h>

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#import "foundation.h"
#include "qemu.h"

#define MIB (1024ull * 1024)
#define LARGEST_FRAME 65550
#define ETHERNET_HEADER 14
#define MAC_LENGTH 6

/* A property that keeps its object. */
#define KEPT(type, struct_name, getter, setter) \
	-(type)getter { \
		return OWN(struct_name, self)->getter; \
	} \
	-(void)setter : (type)value { \
		[value retain]; \
		[OWN(struct_name, self)->getter release]; \
		OWN(struct_name, self)->getter = value; \
	}

/* ---- configuration ---- */

@implementation VZBootLoader
@end

struct linux_boot {
	NSURL *kernel;
	NSString *commandLine;
	NSURL *initialRamdiskURL;
};

@implementation VZLinuxBootLoader
- (instancetype)initWithKernelURL:(NSURL *)kernel {
	OWN(linux_boot, self)->kernel = [kernel retain];
	return self;
}
KEPT(NSString *, linux_boot, commandLine, setCommandLine)
KEPT(NSURL *, linux_boot, initialRamdiskURL, setInitialRamdiskURL)
@end

@implementation VZEFIVariableStore
- (instancetype)initWithURL:(NSURL *)url {
	(void)url;
	return self;
}
- (instancetype)initCreatingVariableStoreAtURL:(NSURL *)url
                                       options:(VZEFIVariableStoreInitializationOptions)options
                                         error:(NSError **)error {
	(void)options;
	FILE *file = fopen(url.fileSystemRepresentation, "wx");
	if (file == NULL) {
		*error = [NSError errorWithSentence:"The variable store cannot be made." reason:strerror(errno)];
		[self release];
		return nil;
	}
	fputs("fake EFI variables\n", file);
	fclose(file);
	return self;
}
@end

struct efi_boot {
	VZEFIVariableStore *variableStore;
};

@implementation VZEFIBootLoader
KEPT(VZEFIVariableStore *, efi_boot, variableStore, setVariableStore)
@end

struct identifier {
	NSData *dataRepresentation;
};

@implementation VZGenericMachineIdentifier
- (instancetype)init {
	OWN(identifier, self)->dataRepresentation = [[NSData dataWithOctets:"fake identifier" length:15] retain];
	return self;
}
- (instancetype)initWithDataRepresentation:(NSData *)data {
	if (data.length != 15) {
		[self release];
		return nil;
	}
	OWN(identifier, self)->dataRepresentation = [data retain];
	return self;
}
- (NSData *)dataRepresentation {
	return OWN(identifier, self)->dataRepresentation;
}
@end

@implementation VZPlatformConfiguration
@end

struct platform {
	VZGenericMachineIdentifier *machineIdentifier;
};

@implementation VZGenericPlatformConfiguration
KEPT(VZGenericMachineIdentifier *, platform, machineIdentifier, setMachineIdentifier)
@end

@implementation VZStorageDeviceAttachment
@end

struct image {
	NSURL *url;
	BOOL readOnly;
};

@implementation VZDiskImageStorageDeviceAttachment
- (instancetype)initWithURL:(NSURL *)url
                   readOnly:(BOOL)readOnly
                cachingMode:(VZDiskImageCachingMode)cachingMode
        synchronizationMode:(VZDiskImageSynchronizationMode)synchronizationMode
                      error:(NSError **)error {
	char magic[4] = "";
	FILE *file = fopen(url.fileSystemRepresentation, readOnly ? "r" : "r+");
	if (cachingMode != VZDiskImageCachingModeCached || synchronizationMode != VZDiskImageSynchronizationModeFsync)
		[NSException raise:"the modes are not those that keep disks whole"];
	if (file != NULL && fread(magic, 1, 4, file) == 4 && memcmp(magic, "QFI\xfb", 4) == 0) {
		fclose(file);
		file = NULL;
		errno = EINVAL;
	}
	if (file == NULL) {
		*error = [NSError errorWithSentence:"The disk image cannot be used." reason:strerror(errno)];
		[self release];
		return nil;
	}
	fclose(file);
	OWN(image, self)->url = [url retain];
	OWN(image, self)->readOnly = readOnly;
	return self;
}
@end

@implementation VZStorageDeviceConfiguration
@end

struct block {
	VZDiskImageStorageDeviceAttachment *attachment;
};

@implementation VZVirtioBlockDeviceConfiguration
- (instancetype)initWithAttachment:(VZStorageDeviceAttachment *)attachment {
	OWN(block, self)->attachment = [(id)attachment retain];
	return self;
}
@end

@implementation VZSerialPortAttachment
@end

struct serial_file {
	NSFileHandle *writing;
};

@implementation VZFileHandleSerialPortAttachment
- (instancetype)initWithFileHandleForReading:(NSFileHandle *)reading fileHandleForWriting:(NSFileHandle *)writing {
	(void)reading;
	OWN(serial_file, self)->writing = [writing retain];
	return self;
}
- (void)dealloc {
	[OWN(serial_file, self)->writing release];
	[super dealloc];
}
@end

struct serial {
	VZSerialPortAttachment *attachment;
};

@implementation VZSerialPortConfiguration
KEPT(VZSerialPortAttachment *, serial, attachment, setAttachment)
- (void)dealloc {
	[OWN(serial, self)->attachment release];
	[super dealloc];
}
@end

@implementation VZVirtioConsoleDeviceSerialPortConfiguration
@end

@implementation VZEntropyDeviceConfiguration
@end
@implementation VZVirtioEntropyDeviceConfiguration
@end
@implementation VZMemoryBalloonDeviceConfiguration
@end
@implementation VZVirtioTraditionalMemoryBalloonDeviceConfiguration
@end
@implementation VZSocketDeviceConfiguration
@end
@implementation VZVirtioSocketDeviceConfiguration
@end

static BOOL read_mac(const char *text, unsigned char octets[MAC_LENGTH]) {
	if (strlen(text) != 3 * MAC_LENGTH - 1) return NO;
	return sscanf(text, "%2hhx:%2hhx:%2hhx:%2hhx:%2hhx:%2hhx", octets, octets + 1, octets + 2, octets + 3, octets + 4, octets + 5) == MAC_LENGTH;
}

struct mac {
	NSString *string;
};

@implementation VZMACAddress
- (instancetype)initWithString:(NSString *)text {
	unsigned char octets[MAC_LENGTH];
	if (!read_mac(text.UTF8String, octets)) {
		[self release];
		return nil;
	}
	OWN(mac, self)->string = [text retain];
	return self;
}
- (NSString *)string {
	return OWN(mac, self)->string;
}
@end

@implementation VZNetworkDeviceAttachment
@end

@implementation VZNATNetworkDeviceAttachment
@end

struct file_attachment {
	NSFileHandle *handle;
	NSInteger maximumTransmissionUnit;
};

@implementation VZFileHandleNetworkDeviceAttachment
- (instancetype)initWithFileHandle:(NSFileHandle *)handle {
	int type = 0;
	socklen_t length = sizeof type;
	getsockopt(handle.fileDescriptor, SOL_SOCKET, SO_TYPE, &type, &length);
	if (type != SOCK_DGRAM) [NSException raise:"the file handle is no datagram socket"];
	OWN(file_attachment, self)->handle = [handle retain];
	OWN(file_attachment, self)->maximumTransmissionUnit = 1500;
	return self;
}
- (NSInteger)maximumTransmissionUnit {
	return OWN(file_attachment, self)->maximumTransmissionUnit;
}
- (void)setMaximumTransmissionUnit:(NSInteger)unit {
	int buffer = 0;
	socklen_t length = sizeof buffer;
	getsockopt(OWN(file_attachment, self)->handle.fileDescriptor, SOL_SOCKET, SO_SNDBUF, &buffer, &length);
	if (unit < 1500 || unit > 65535 || buffer < unit) [NSException raise:"the MTU does not suit the socket"];
	OWN(file_attachment, self)->maximumTransmissionUnit = unit;
}
- (void)dealloc {
	[OWN(file_attachment, self)->handle release];
	[super dealloc];
}
@end

struct card {
	VZMACAddress *MACAddress;
	VZNetworkDeviceAttachment *attachment;
};

@implementation VZNetworkDeviceConfiguration
KEPT(VZMACAddress *, card, MACAddress, setMACAddress)
KEPT(VZNetworkDeviceAttachment *, card, attachment, setAttachment)
- (void)dealloc {
	[OWN(card, self)->MACAddress release];
	[OWN(card, self)->attachment release];
	[super dealloc];
}
@end

@implementation VZVirtioNetworkDeviceConfiguration
@end

struct configuration {
	VZBootLoader *bootLoader;
	NSUInteger cpus;
	uint64_t memory;
	VZPlatformConfiguration *platform;
	NSArray *entropyDevices, *memoryBalloonDevices, *networkDevices, *serialPorts, *socketDevices, *storageDevices;
};

@implementation VZVirtualMachineConfiguration
KEPT(VZBootLoader *, configuration, bootLoader, setBootLoader)
KEPT(VZPlatformConfiguration *, configuration, platform, setPlatform)
KEPT(NSArray *, configuration, entropyDevices, setEntropyDevices)
KEPT(NSArray *, configuration, memoryBalloonDevices, setMemoryBalloonDevices)
KEPT(NSArray *, configuration, networkDevices, setNetworkDevices)
KEPT(NSArray *, configuration, serialPorts, setSerialPorts)
KEPT(NSArray *, configuration, socketDevices, setSocketDevices)
KEPT(NSArray *, configuration, storageDevices, setStorageDevices)
- (NSUInteger)CPUCount {
	return OWN(configuration, self)->cpus;
}
- (void)setCPUCount:(NSUInteger)count {
	OWN(configuration, self)->cpus = count;
}
- (uint64_t)memorySize {
	return OWN(configuration, self)->memory;
}
- (void)setMemorySize:(uint64_t)size {
	OWN(configuration, self)->memory = size;
}
+ (NSUInteger)minimumAllowedCPUCount {
	return 1;
}
+ (NSUInteger)maximumAllowedCPUCount {
	return 8;
}
+ (uint64_t)minimumAllowedMemorySize {
	return 64 * MIB;
}
+ (uint64_t)maximumAllowedMemorySize {
	return 16384 * MIB;
}
- (BOOL)validateWithError:(NSError **)error {
	struct configuration *it = OWN(configuration, self);
	const char *problem = it->cpus < 1 || it->cpus > 8                          ? "The number of CPUs is too small or too large."
	                      : it->memory < 64 * MIB || it->memory > 16384 * MIB   ? "The memory size is too small or too large."
	                      : it->networkDevices == nil || it->socketDevices == nil ? "A list of devices is missing."
	                                                                            : NULL;
	if (problem == NULL) return YES;
	*error = [NSError errorWithSentence:"Invalid virtual machine configuration." reason:problem];
	return NO;
}
- (void)dealloc {
	struct configuration *it = OWN(configuration, self);
	[it->networkDevices release];
	[it->serialPorts release];
	[super dealloc];
}
@end

/* ---- machines ---- */

struct connection {
	int fd;
};

@implementation VZVirtioSocketConnection
- (int)fileDescriptor {
	return OWN(connection, self)->fd;
}
- (void)dealloc {
	close(OWN(connection, self)->fd);
	[super dealloc];
}
@end

@implementation VZSocketDevice
@end

struct device {
	pthread_mutex_t lock; /* of `attachment` and `ended` */
	VZNetworkDeviceAttachment *attachment;
	VZVirtualMachine *machine; /* not kept */
	int wake[2];               /* the receiving thread looks at `attachment` again */
	unsigned char mac[MAC_LENGTH];
	int guest; /* QEMU's network card; -1: the guest of a few lines */
	pthread_t thread;
	int ended;
};

enum state { STOPPED, RUNNING };

struct machine {
	dispatch_queue_t queue;
	VZVirtualMachineConfiguration *configuration;
	id<VZVirtualMachineDelegate> delegate; /* not kept */
	NSArray *networkDevices, *socketDevices;
	enum state state;
	struct qemu *qemu;
};

struct socket_device {
	VZVirtualMachine *machine; /* not kept */
};

static void *echo(void *argument) {
	int fd = (int)(long)argument;
	char octets[4096];
	for (ssize_t got; (got = read(fd, octets, sizeof octets)) > 0;)
		for (ssize_t at = 0, sent; at < got; at += sent)
			if ((sent = write(fd, octets + at, (size_t)(got - at))) < 0) break;
	close(fd);
	return NULL;
}

@implementation VZVirtioSocketDevice
- (void)connectToPort:(uint32_t)port
    completionHandler:(void (^)(VZVirtioSocketConnection *connection, NSError *error))handler {
	int ends[2];
	pthread_t thread;
	struct machine *machine = OWN(machine, OWN(socket_device, self)->machine);
	if (port != 22 || machine->qemu != NULL) {
		handler(nil, [NSError errorWithSentence:"The connection was reset." reason:NULL]);
		return;
	}
	socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends);
	pthread_create(&thread, NULL, echo, (void *)(long)ends[1]);
	pthread_detach(thread);
	VZVirtioSocketConnection *connection = [VZVirtioSocketConnection new];
	OWN(connection, connection)->fd = ends[0];
	handler(connection, nil);
	[connection release];
}
@end

@interface VZVirtualMachine (Guest)
- (void)obey:(const char *)word device:(VZNetworkDevice *)device;
@end

@implementation VZNetworkDevice
- (VZNetworkDeviceAttachment *)attachment {
	return OWN(device, self)->attachment;
}
- (void)setAttachment:(VZNetworkDeviceAttachment *)attachment {
	struct device *it = OWN(device, self);
	pthread_mutex_lock(&it->lock);
	[attachment retain];
	[it->attachment release];
	it->attachment = attachment;
	pthread_mutex_unlock(&it->lock);
	if (write(it->wake[1], "", 1) < 0) abort();
}
@end

/* Whoever does not read loses frames. */
static void pass(int fd, const char *frame, ssize_t length) {
	(void)!send(fd, frame, (size_t)length, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* What the guest of a few lines does with a frame. NO: its card is not attached any more. */
static BOOL answer(VZNetworkDevice *device, int fd, char *frame, ssize_t length) {
	const char *word = frame + ETHERNET_HEADER;
	BOOL said = length >= ETHERNET_HEADER + 4 &&
	            (memcmp(word, "HALT", 4) == 0 || memcmp(word, "FAIL", 4) == 0 || memcmp(word, "LOST", 4) == 0);
	if (said) {
		[OWN(device, device)->machine obey:word device:device];
	} else if (length >= ETHERNET_HEADER) {
		memcpy(frame, frame + MAC_LENGTH, MAC_LENGTH);
		memcpy(frame + MAC_LENGTH, OWN(device, device)->mac, MAC_LENGTH);
		pass(fd, frame, length);
	}
	return !said || *word != 'L';
}

/* The network card of a machine that runs; it keeps the descriptor it reads by a duplicate of its own. */
static void *receive(void *argument) {
	VZNetworkDevice *device = argument;
	struct device *it = OWN(device, device);
	char *frame = malloc(LARGEST_FRAME);
	int fd = -1;
	for (;;) {
		struct pollfd ready[3] = {{it->wake[0], POLLIN, 0}, {fd, POLLIN, 0}, {it->guest, POLLIN, 0}};
		poll(ready, 3, -1);
		if (ready[0].revents != 0) {
			char rings[16];
			if (read(it->wake[0], rings, sizeof rings) <= 0) break;
			if (fd >= 0) close(fd);
			pthread_mutex_lock(&it->lock);
			VZNetworkDeviceAttachment *to = it->attachment;
			BOOL ended = it->ended;
			fd = !is_of(to, [VZFileHandleNetworkDeviceAttachment self]) ? -1 : dup(OWN(file_attachment, to)->handle.fileDescriptor);
			pthread_mutex_unlock(&it->lock);
			if (ended) break;
			continue;
		}
		ssize_t got = recv(fd, frame, LARGEST_FRAME, MSG_DONTWAIT);
		if (got >= 0 && it->guest >= 0) {
			pass(it->guest, frame, got);
		} else if (got >= 0 && !answer(device, fd, frame, got)) {
			close(fd);
			fd = -1;
		}
		if (it->guest < 0) continue;
		got = recv(it->guest, frame, LARGEST_FRAME, MSG_DONTWAIT);
		if (got >= 0) pass(fd, frame, got);
	}
	if (fd >= 0) close(fd);
	if (it->guest >= 0) close(it->guest);
	free(frame);
	return NULL;
}

@implementation VZVirtualMachine
- (instancetype)initWithConfiguration:(VZVirtualMachineConfiguration *)configuration queue:(dispatch_queue_t)queue {
	struct machine *it = OWN(machine, self);
	it->queue = queue;
	it->configuration = [configuration retain];
	NSMutableArray *devices = [NSMutableArray array];
	for (NSUInteger i = 0; i < configuration.networkDevices.count; i++) {
		VZNetworkDevice *device = [VZNetworkDevice new];
		OWN(device, device)->machine = self;
		OWN(device, device)->guest = -1;
		pthread_mutex_init(&OWN(device, device)->lock, NULL);
		if (pipe(OWN(device, device)->wake) < 0) abort();
		VZNetworkDeviceConfiguration *card = [configuration.networkDevices objectAtIndex:i];
		read_mac(card.MACAddress.string.UTF8String, OWN(device, device)->mac);
		device.attachment = card.attachment;
		[devices addObject:device];
		[device release];
	}
	it->networkDevices = [devices retain];
	VZVirtioSocketDevice *vsock = [[VZVirtioSocketDevice new] autorelease];
	OWN(socket_device, vsock)->machine = self;
	it->socketDevices = [[NSArray arrayWithObject:vsock] retain];
	return self;
}
+ (BOOL)isSupported {
	return YES;
}
- (id<VZVirtualMachineDelegate>)delegate {
	return OWN(machine, self)->delegate;
}
- (void)setDelegate:(id<VZVirtualMachineDelegate>)delegate {
	OWN(machine, self)->delegate = delegate;
}
- (NSArray *)networkDevices {
	return OWN(machine, self)->networkDevices;
}
- (NSArray *)socketDevices {
	return OWN(machine, self)->socketDevices;
}
- (BOOL)commandLineSays:(const char *)word {
	VZBootLoader *loader = OWN(machine, self)->configuration.bootLoader;
	if (!is_of(loader, [VZLinuxBootLoader self])) return NO;
	NSString *line = ((VZLinuxBootLoader *)loader).commandLine;
	return line != nil && strstr(line.UTF8String, word) != NULL;
}
- (int)serial {
	NSArray *ports = OWN(machine, self)->configuration.serialPorts;
	if (ports.count == 0) return -1;
	VZSerialPortAttachment *attachment = ((VZSerialPortConfiguration *)[ports objectAtIndex:0]).attachment;
	return OWN(serial_file, attachment)->writing.fileDescriptor;
}
- (void)startQemu {
	struct machine *it = OWN(machine, self);
	struct configuration *is = OWN(configuration, it->configuration);
	struct linux_boot *boot = OWN(linux_boot, is->bootLoader);
	struct qemu *qemu = qemu_new(is->cpus, is->memory / MIB);
	qemu_kernel(qemu, boot->kernel.fileSystemRepresentation, boot->initialRamdiskURL.fileSystemRepresentation,
	            boot->commandLine.UTF8String);
	for (NSUInteger i = 0; i < is->storageDevices.count; i++) {
		struct image *image = OWN(image, OWN(block, [is->storageDevices objectAtIndex:i])->attachment);
		qemu_disk(qemu, image->url.fileSystemRepresentation, image->readOnly);
	}
	for (NSUInteger i = 0; i < it->networkDevices.count; i++) {
		struct card *card = OWN(card, [is->networkDevices objectAtIndex:i]);
		OWN(device, [it->networkDevices objectAtIndex:i])->guest = qemu_card(qemu, card->MACAddress.string.UTF8String);
	}
	it->qemu = qemu;
	qemu_start(qemu, self.serial, ^{
	  [self obey:"HALT" device:nil];
	});
}
- (void)startWithCompletionHandler:(void (^)(NSError *error))handler {
	struct machine *it = OWN(machine, self);
	if (it->state == RUNNING) {
		handler([NSError errorWithSentence:"Invalid state transition." reason:"The machine runs."]);
		return;
	}
	if ([self commandLineSays:"fake.broken"]) {
		handler([NSError errorWithSentence:"The virtual machine failed to start." reason:"It is\nbroken."]);
		return;
	}
	if ([self commandLineSays:"fake.qemu"]) [self startQemu];
	it->state = RUNNING;
	for (NSUInteger i = 0; i < it->networkDevices.count; i++) {
		VZNetworkDevice *device = [it->networkDevices objectAtIndex:i];
		pthread_create(&OWN(device, device)->thread, NULL, receive, device);
	}
	if (it->qemu == NULL && self.serial >= 0 && write(self.serial, "console\n", 8) < 0) abort();
	handler(nil);
}
- (void)end {
	struct machine *it = OWN(machine, self);
	if (it->state == STOPPED) return;
	it->state = STOPPED;
	if (it->qemu != NULL) qemu_end(it->qemu);
	it->qemu = NULL;
	for (NSUInteger i = 0; i < it->networkDevices.count; i++) {
		struct device *device = OWN(device, [it->networkDevices objectAtIndex:i]);
		pthread_mutex_lock(&device->lock);
		device->ended = 1;
		pthread_mutex_unlock(&device->lock);
		if (write(device->wake[1], "", 1) < 0) abort();
		pthread_join(device->thread, NULL);
	}
}
- (BOOL)requestStopWithError:(NSError **)error {
	struct machine *it = OWN(machine, self);
	if (it->state == STOPPED) {
		*error = [NSError errorWithSentence:"Invalid state transition." reason:"The machine does not run."];
		return NO;
	}
	if (it->qemu != NULL) qemu_power_button(it->qemu);
	if (it->qemu != NULL || [self commandLineSays:"fake.deaf"]) return YES;
	[self obey:"HALT" device:nil];
	return YES;
}
- (void)stopWithCompletionHandler:(void (^)(NSError *error))handler {
	if (OWN(machine, self)->state == STOPPED) {
		handler([NSError errorWithSentence:"Invalid state transition." reason:"The machine does not run."]);
		return;
	}
	[self end];
	handler(nil);
}
/* on any thread */
- (void)obey:(const char *)word device:(VZNetworkDevice *)device {
	char first = *word;
	dispatch_async(OWN(machine, self)->queue, ^{
	  id<VZVirtualMachineDelegate> delegate = self.delegate;
	  if (OWN(machine, self)->state == STOPPED) return;
	  @autoreleasepool {
		  if (first == 'L') {
			  [delegate virtualMachine:self
			                           networkDevice:device
			      attachmentWasDisconnectedWithError:[NSError errorWithSentence:"The attachment broke." reason:NULL]];
		  } else if (first == 'F') {
			  [self end];
			  [delegate virtualMachine:self didStopWithError:[NSError errorWithSentence:"The guest crashed." reason:NULL]];
		  } else {
			  [self end];
			  [delegate guestDidStopVirtualMachine:self];
		  }
	  }
	});
}
- (void)dealloc {
	struct machine *it = OWN(machine, self);
	[self end];
	for (NSUInteger i = 0; i < it->networkDevices.count; i++) {
		struct device *device = OWN(device, [it->networkDevices objectAtIndex:i]);
		close(device->wake[0]);
		close(device->wake[1]);
		[device->attachment release];
	}
	[it->networkDevices release];
	[it->socketDevices release];
	[it->configuration release];
	[super dealloc];
}
@end
