/*
 * Virtual machines of Virtualization.framework behind the ABI of vz.h. References are counted by hand, so that the same
 * source runs on GCC's Objective-C runtime against native/fake.
 *
 * A VZVirtualMachine is touched on its own serial queue only; what the caller asks for is put there, and what comes of it
 * is queued as text for the caller to take. The framework's own threads never see the caller.
 */
#import <Foundation/Foundation.h>
#import <Virtualization/Virtualization.h>
#import <dispatch/dispatch.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "text.h"
#include "vz.h"

#define EXPORT __attribute__((visibility("default")))
#define MIB (1024ull * 1024)
#define MACHINES 16
#define EVENT_SIZE 1024
#define PATH_SIZE 1100
#define COMMAND_LINE_SIZE 4096

struct event {
	struct event *next;
	int fd; /* that goes to whoever takes the event; -1: none */
	struct text text;
	char memory[EVENT_SIZE];
};

@class LimanetDelegate;

struct machine {
	atomic_int holders; /* the number's owner, and each block that the framework may still call */
	dispatch_queue_t queue;
	VZVirtualMachine *vm;
	LimanetDelegate *delegate;
	int bell[2];
	int tickets;
	pthread_mutex_t lock; /* of the events and of `closed` */
	struct event *first, *last;
	int closed;
};

static struct machine *machines[MACHINES];

static struct machine *find(int32_t number) {
	return number < 0 || number >= MACHINES ? NULL : machines[number];
}

static struct machine *hold(struct machine *it) {
	atomic_fetch_add(&it->holders, 1);
	return it;
}

static void discard(struct event *event) {
	if (event->fd >= 0) close(event->fd);
	free(event);
}

static void let_go(struct machine *it) {
	if (atomic_fetch_sub(&it->holders, 1) > 1) return;
	for (struct event *event = it->first, *next; event != NULL; event = next) {
		next = event->next;
		discard(event);
	}
	pthread_mutex_destroy(&it->lock);
	dispatch_release(it->queue);
	free(it);
}

/* ---- events ---- */

static struct event *event_named(const char *name) {
	struct event *event = calloc(1, sizeof *event);
	if (event == NULL) abort();
	event->fd = -1;
	event->text = text_begin(event->memory, EVENT_SIZE);
	text_put(&event->text, "event", name);
	return event;
}

static void put_sentence(struct text *text, const char *sentence) {
	char line[EVENT_SIZE / 2];
	size_t length = 0;
	for (const char *c = sentence; *c != 0 && length + 1 < sizeof line; c++) line[length++] = *c == '\n' ? ' ' : *c;
	line[length] = 0;
	text_put(text, "error", line);
}

static void put_error(struct text *text, NSError *error) {
	const char *description = error.localizedDescription.UTF8String, *reason = error.localizedFailureReason.UTF8String;
	char sentence[EVENT_SIZE / 2];
	snprintf(sentence, sizeof sentence, "%s%s%s", description == NULL ? "the framework gives no reason" : description,
	         reason == NULL ? "" : " ", reason == NULL ? "" : reason);
	put_sentence(text, sentence);
}

static void tell(struct machine *it, struct event *event) {
	pthread_mutex_lock(&it->lock);
	if (it->closed) {
		pthread_mutex_unlock(&it->lock);
		discard(event);
		return;
	}
	if (it->last == NULL) it->first = event;
	else it->last->next = event;
	it->last = event;
	/* a bell that is full has been rung already */
	if (write(it->bell[1], "", 1) < 0) errno = 0;
	pthread_mutex_unlock(&it->lock);
}

/* `failure` with its error, or `success` where that is an event, too */
static void tell_outcome(struct machine *it, const char *success, const char *failure, NSError *error) {
	if (error == nil && success == NULL) return;
	struct event *event = event_named(error == nil ? success : failure);
	if (error != nil) put_error(&event->text, error);
	tell(it, event);
}

@interface LimanetDelegate : NSObject <VZVirtualMachineDelegate> {
@public
	struct machine *it;
}
@end

@implementation LimanetDelegate
- (void)guestDidStopVirtualMachine:(VZVirtualMachine *)machine {
	(void)machine;
	tell_outcome(it, "stopped", NULL, nil);
}

- (void)virtualMachine:(VZVirtualMachine *)machine didStopWithError:(NSError *)error {
	(void)machine;
	struct event *event = event_named("failed");
	put_error(&event->text, error);
	tell(it, event);
}

- (void)virtualMachine:(VZVirtualMachine *)machine
                         networkDevice:(VZNetworkDevice *)device
    attachmentWasDisconnectedWithError:(NSError *)error {
	NSUInteger index = [machine.networkDevices indexOfObjectIdenticalTo:device];
	struct event *event = event_named("nic-lost");
	text_put_number(&event->text, "nic", index == NSNotFound ? -1 : (int64_t)index);
	put_error(&event->text, error);
	tell(it, event);
}
@end

/* ---- configuration ---- */

/* What could not be made: the first failure of the builders below counts. */
struct problem {
	struct text *out;
	int32_t result;
};

static id refuse(struct problem *problem, const char *sentence) {
	if (problem->result == 0) {
		problem->result = -EINVAL;
		put_sentence(problem->out, sentence);
	}
	return nil;
}

static id refuse_error(struct problem *problem, NSError *error) {
	if (problem->result == 0) {
		problem->result = -EINVAL;
		put_error(problem->out, error);
	}
	return nil;
}

/* The framework throws what it takes for a programmer's error. */
static const char *reason_of(NSException *exception) {
	const char *reason = exception.reason.UTF8String;
	return reason == NULL ? "The framework gives no reason" : reason;
}

static NSString *text_of(const struct conf *conf, const char *key, struct problem *problem) {
	char value[COMMAND_LINE_SIZE];
	int32_t length = conf_text(conf, key, value, sizeof value);
	if (length < 0) return refuse(problem, "A value of the configuration is too long");
	return length == 0 ? nil : [NSString stringWithUTF8String:value];
}

static NSURL *url_of(const struct conf *conf, const char *key, struct problem *problem) {
	NSString *path = text_of(conf, key, problem);
	return path == nil ? nil : [NSURL fileURLWithPath:path];
}

/* "disk", 2, ".readonly" */
static const char *key_of(char key[32], const char *kind, uint32_t number, const char *field) {
	snprintf(key, 32, "%s.%u%s", kind, number, field);
	return key;
}

static NSFileHandle *handle_of(const char *number, struct problem *problem) {
	char *end;
	long fd = strtol(number, &end, 10);
	int ours = *number == 0 || *end != 0 ? -1 : fcntl((int)fd, F_DUPFD_CLOEXEC, 0);
	if (ours < 0) return refuse(problem, "A descriptor of the configuration is not open");
	return [[[NSFileHandle alloc] initWithFileDescriptor:ours closeOnDealloc:YES] autorelease];
}

static VZBootLoader *boot_loader(const struct conf *conf, struct problem *problem) {
	NSURL *kernel = url_of(conf, "kernel", problem);
	if (kernel != nil) {
		VZLinuxBootLoader *loader = [[[VZLinuxBootLoader alloc] initWithKernelURL:kernel] autorelease];
		NSString *line = text_of(conf, "cmdline", problem);
		NSURL *initrd = url_of(conf, "initrd", problem);
		if (line != nil) loader.commandLine = line;
		if (initrd != nil) loader.initialRamdiskURL = initrd;
		return loader;
	}
	char path[PATH_SIZE];
	if (conf_text(conf, "efi", path, sizeof path) <= 0) return refuse(problem, "The configuration has neither kernel nor efi");
	NSURL *url = [NSURL fileURLWithPath:[NSString stringWithUTF8String:path]];
	NSError *error = nil;
	VZEFIVariableStore *store = [VZEFIVariableStore alloc];
	if (access(path, F_OK) == 0) store = [store initWithURL:url];
	else store = [store initCreatingVariableStoreAtURL:url options:0 error:&error];
	if (store == nil) return refuse_error(problem, error);
	VZEFIBootLoader *loader = [[[VZEFIBootLoader alloc] init] autorelease];
	loader.variableStore = [store autorelease];
	return loader;
}

/* The guest sees the same machine at every start, which EFI variables belong to. */
static VZPlatformConfiguration *platform(const struct conf *conf, struct problem *problem) {
	VZGenericPlatformConfiguration *platform = [[[VZGenericPlatformConfiguration alloc] init] autorelease];
	NSString *path = text_of(conf, "machine_id", problem);
	if (path == nil) return platform;
	NSData *data = [NSData dataWithContentsOfFile:path];
	VZGenericMachineIdentifier *identifier = [VZGenericMachineIdentifier alloc];
	identifier = [(data == nil ? [identifier init] : [identifier initWithDataRepresentation:data]) autorelease];
	if (identifier == nil) return refuse(problem, "The file of the machine's identifier is damaged");
	if (data == nil && ![identifier.dataRepresentation writeToFile:path atomically:YES])
		return refuse(problem, "The file of the machine's identifier cannot be written");
	platform.machineIdentifier = identifier;
	return platform;
}

static NSArray *disks(const struct conf *conf, struct problem *problem) {
	NSMutableArray *devices = [NSMutableArray array];
	char key[32];
	for (uint32_t i = 0;; i++) {
		NSURL *url = url_of(conf, key_of(key, "disk", i, ""), problem);
		if (url == nil) return devices;
		NSError *error = nil;
		/* cached and fsync: without, guests on Apple's own processors have found their disks corrupted */
		VZDiskImageStorageDeviceAttachment *image = [[[VZDiskImageStorageDeviceAttachment alloc]
		            initWithURL:url
		               readOnly:conf_number(conf, key_of(key, "disk", i, ".readonly"), 0) != 0
		            cachingMode:VZDiskImageCachingModeCached
		    synchronizationMode:VZDiskImageSynchronizationModeFsync
		                  error:&error] autorelease];
		if (image == nil) return refuse_error(problem, error);
		[devices addObject:[[[VZVirtioBlockDeviceConfiguration alloc] initWithAttachment:image] autorelease]];
	}
}

static VZNetworkDeviceAttachment *attachment(const char *to, uint32_t mtu, struct problem *problem) {
	if (strcmp(to, "nat") == 0) return [[[VZNATNetworkDeviceAttachment alloc] init] autorelease];
	if (strncmp(to, "fd:", 3) != 0) return refuse(problem, "A network card is attached to nothing known");
	NSFileHandle *handle = handle_of(to + 3, problem);
	if (handle == nil) return nil;
	VZFileHandleNetworkDeviceAttachment *file =
	    [[[VZFileHandleNetworkDeviceAttachment alloc] initWithFileHandle:handle] autorelease];
	if (mtu != 0) file.maximumTransmissionUnit = (NSInteger)mtu;
	return file;
}

static NSArray *cards(const struct conf *conf, struct problem *problem) {
	NSMutableArray *devices = [NSMutableArray array];
	char key[32], to[32], mac[32];
	for (uint32_t i = 0; conf_text(conf, key_of(key, "nic", i, ""), to, sizeof to) != 0; i++) {
		VZVirtioNetworkDeviceConfiguration *card = [[[VZVirtioNetworkDeviceConfiguration alloc] init] autorelease];
		VZNetworkDeviceAttachment *network = attachment(to, conf_number(conf, key_of(key, "nic", i, ".mtu"), 0), problem);
		if (network == nil) return nil;
		card.attachment = network;
		conf_text(conf, key_of(key, "nic", i, ".mac"), mac, sizeof mac);
		VZMACAddress *address = [[[VZMACAddress alloc] initWithString:[NSString stringWithUTF8String:mac]] autorelease];
		if (address == nil) return refuse(problem, "A network card has no MAC address, or one that is none");
		card.MACAddress = address;
		[devices addObject:card];
	}
	return devices;
}

static NSArray *serial_ports(const struct conf *conf, struct problem *problem) {
	char number[16];
	if (conf_text(conf, "serial", number, sizeof number) <= 0) return [NSMutableArray array];
	NSFileHandle *handle = handle_of(number, problem);
	if (handle == nil) return nil;
	VZVirtioConsoleDeviceSerialPortConfiguration *port =
	    [[[VZVirtioConsoleDeviceSerialPortConfiguration alloc] init] autorelease];
	port.attachment = [[[VZFileHandleSerialPortAttachment alloc] initWithFileHandleForReading:nil
	                                                                     fileHandleForWriting:handle] autorelease];
	return [NSArray arrayWithObject:port];
}

static VZVirtualMachineConfiguration *configuration(const struct conf *conf, struct problem *problem) {
	VZVirtualMachineConfiguration *it = [[[VZVirtualMachineConfiguration alloc] init] autorelease];
	it.CPUCount = conf_number(conf, "cpus", 1);
	it.memorySize = conf_number(conf, "memory", 0) * MIB;
	it.bootLoader = boot_loader(conf, problem);
	if (problem->result == 0) it.platform = platform(conf, problem);
	if (problem->result == 0) it.storageDevices = disks(conf, problem);
	if (problem->result == 0) it.networkDevices = cards(conf, problem);
	if (problem->result == 0) it.serialPorts = serial_ports(conf, problem);
	if (problem->result < 0) return nil;
	it.entropyDevices = [NSArray arrayWithObject:[[[VZVirtioEntropyDeviceConfiguration alloc] init] autorelease]];
	it.memoryBalloonDevices = [NSArray
	    arrayWithObject:[[[VZVirtioTraditionalMemoryBalloonDeviceConfiguration alloc] init] autorelease]];
	it.socketDevices = [NSArray arrayWithObject:[[[VZVirtioSocketDeviceConfiguration alloc] init] autorelease]];
	NSError *error = nil;
	return [it validateWithError:&error] ? it : refuse_error(problem, error);
}

/* ---- the ABI ---- */

EXPORT uint32_t vz_abi(void) {
	return VZ_ABI;
}

EXPORT int32_t vz_caps(char *out, uint32_t cap) {
	struct text text = text_begin(out, cap);
	text_put_number(&text, "supported", VZVirtualMachine.supported != NO);
	text_put_number(&text, "min_cpus", (int64_t)VZVirtualMachineConfiguration.minimumAllowedCPUCount);
	text_put_number(&text, "max_cpus", (int64_t)VZVirtualMachineConfiguration.maximumAllowedCPUCount);
	text_put_number(&text, "min_memory", (int64_t)(VZVirtualMachineConfiguration.minimumAllowedMemorySize / MIB));
	text_put_number(&text, "max_memory", (int64_t)(VZVirtualMachineConfiguration.maximumAllowedMemorySize / MIB));
	return 0;
}

/* The bell's reading end blocks, for readers that wait in it. */
static struct machine *machine_of(VZVirtualMachineConfiguration *configuration) {
	struct machine *it = calloc(1, sizeof *it);
	if (it == NULL) return NULL;
	if (pipe(it->bell) < 0) {
		free(it);
		return NULL;
	}
	for (int i = 0; i < 2; i++) fcntl(it->bell[i], F_SETFD, FD_CLOEXEC);
	fcntl(it->bell[1], F_SETFL, O_NONBLOCK);
	atomic_init(&it->holders, 1);
	pthread_mutex_init(&it->lock, NULL);
	it->queue = dispatch_queue_create("limanet.vz", DISPATCH_QUEUE_SERIAL);
	it->delegate = [[LimanetDelegate alloc] init];
	it->delegate->it = it;
	it->vm = [[VZVirtualMachine alloc] initWithConfiguration:configuration queue:it->queue];
	dispatch_sync(it->queue, ^{
	  it->vm.delegate = it->delegate;
	});
	return it;
}

EXPORT int32_t vz_open(const char *text, uint32_t len, char *out, uint32_t cap) {
	struct conf conf = {text, len};
	struct text facts = text_begin(out, cap);
	struct problem problem = {&facts, 0};
	int32_t number = 0;
	while (number < MACHINES && machines[number] != NULL) number++;
	if (number == MACHINES) return -EMFILE;
	@autoreleasepool {
		@try {
			VZVirtualMachineConfiguration *valid = configuration(&conf, &problem);
			if (valid != nil) {
				machines[number] = machine_of(valid);
				if (machines[number] == NULL) problem.result = -errno;
			}
		} @catch (id exception) {
			refuse(&problem, reason_of(exception));
		}
	}
	return problem.result < 0 ? problem.result : number;
}

EXPORT int32_t vz_bell(int32_t number) {
	struct machine *it = find(number);
	return it == NULL ? -EBADF : it->bell[0];
}

EXPORT int32_t vz_event(int32_t number, char *out, uint32_t cap) {
	struct machine *it = find(number);
	if (it == NULL) return -EBADF;
	pthread_mutex_lock(&it->lock);
	struct event *event = it->first;
	if (event != NULL) it->first = event->next;
	if (it->first == NULL) it->last = NULL;
	pthread_mutex_unlock(&it->lock);
	if (event == NULL) return 0;
	uint32_t length = event->text.used < cap ? event->text.used : cap - 1;
	memcpy(out, event->memory, length);
	out[length] = 0;
	free(event);
	return (int32_t)length;
}

EXPORT int32_t vz_start(int32_t number) {
	struct machine *it = find(number);
	if (it == NULL) return -EBADF;
	hold(it);
	dispatch_async(it->queue, ^{
	  [it->vm startWithCompletionHandler:^(NSError *error) {
		tell_outcome(it, "started", "start-failed", error);
		let_go(it);
	  }];
	});
	return 0;
}

EXPORT int32_t vz_request_stop(int32_t number) {
	struct machine *it = find(number);
	if (it == NULL) return -EBADF;
	hold(it);
	dispatch_async(it->queue, ^{
	  NSError *error = nil;
	  if (![it->vm requestStopWithError:&error]) tell_outcome(it, NULL, "stop-failed", error);
	  let_go(it);
	});
	return 0;
}

EXPORT int32_t vz_stop(int32_t number) {
	struct machine *it = find(number);
	if (it == NULL) return -EBADF;
	hold(it);
	dispatch_async(it->queue, ^{
	  [it->vm stopWithCompletionHandler:^(NSError *error) {
		tell_outcome(it, "stopped", "stop-failed", error);
		let_go(it);
	  }];
	});
	return 0;
}

EXPORT int32_t vz_attach(int32_t number, uint32_t nic, const char *text, uint32_t len, char *out, uint32_t cap) {
	struct machine *it = find(number);
	if (it == NULL) return -EBADF;
	struct conf conf = {text, len};
	struct text facts = text_begin(out, cap);
	struct problem problem = {&facts, 0};
	char to[32];
	conf_text(&conf, "nic", to, sizeof to);
	const char *to_what = to; /* blocks take no arrays */
	uint32_t mtu = conf_number(&conf, "mtu", 0);
	struct problem *failed = &problem;
	dispatch_sync(it->queue, ^{
	  @autoreleasepool {
		  @try {
			  VZNetworkDeviceAttachment *network = attachment(to_what, mtu, failed);
			  NSArray<VZNetworkDevice *> *devices = it->vm.networkDevices;
			  if (nic >= devices.count) refuse(failed, "The machine has no such network card");
			  else if (network != nil) [devices objectAtIndex:nic].attachment = network;
		  } @catch (id exception) {
			  refuse(failed, reason_of(exception));
		  }
	  }
	});
	return problem.result;
}

static void tell_connection(struct machine *it, int ticket, VZVirtioSocketConnection *connection, NSError *error) {
	struct event *event = event_named("vsock");
	text_put_number(&event->text, "ticket", ticket);
	/* the connection closes its own */
	if (connection != nil) event->fd = fcntl(connection.fileDescriptor, F_DUPFD_CLOEXEC, 0);
	if (event->fd >= 0) text_put_number(&event->text, "fd", event->fd);
	else put_error(&event->text, error);
	tell(it, event);
}

EXPORT int32_t vz_connect(int32_t number, uint32_t port) {
	struct machine *it = find(number);
	if (it == NULL) return -EBADF;
	int ticket = ++it->tickets;
	hold(it);
	dispatch_async(it->queue, ^{
	  VZVirtioSocketDevice *device = (VZVirtioSocketDevice *)[it->vm.socketDevices objectAtIndex:0];
	  [device connectToPort:port
	      completionHandler:^(VZVirtioSocketConnection *connection, NSError *error) {
		tell_connection(it, ticket, connection, error);
		let_go(it);
	      }];
	});
	return ticket;
}

EXPORT int32_t vz_close(int32_t number) {
	struct machine *it = find(number);
	if (it == NULL) return -EBADF;
	machines[number] = NULL;
	dispatch_sync(it->queue, ^{
	  it->vm.delegate = nil;
	  [it->vm release];
	  it->vm = nil;
	});
	[it->delegate release];
	pthread_mutex_lock(&it->lock);
	it->closed = 1;
	close(it->bell[1]);
	pthread_mutex_unlock(&it->lock);
	let_go(it);
	return 0;
}
