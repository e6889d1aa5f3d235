/* Foundation for the tests, on GCC's Objective-C runtime: what native/sdk declares of it, and no more. */
#import <Foundation/Foundation.h>

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#import "foundation.h"

/* libobjc's */
size_t class_getInstanceSize(Class class);

/* before each object: GCC's runtime lays out a class's own variables by its public declaration, which has none */
struct header {
	_Alignas(16) atomic_int retained;
	void *own[OWN_WORDS];
};
#define HEADER(object) ((struct header *)(void *)(object) - 1)

void *own_of(id object) {
	return HEADER(object)->own;
}

BOOL is_of(id object, Class class) {
	return object != nil && *(Class *)(void *)object == class;
}

@interface NSAutoreleasePool : NSObject {
	NSAutoreleasePool *outer;
	id *objects;
	NSUInteger count;
}
- (void)drain;
- (void)add:(id)object;
@end

static __thread NSAutoreleasePool *innermost;

@implementation NSObject
+ (instancetype)alloc {
	struct header *header = calloc(1, sizeof *header + class_getInstanceSize(self));
	atomic_init(&header->retained, 1);
	id object = (id)(header + 1);
	*(Class *)(void *)object = self;
	return object;
}
+ (Class)self {
	return self;
}
+ (instancetype)new {
	return [[self alloc] init];
}
- (instancetype)init {
	return self;
}
- (void)dealloc {
	free(HEADER(self));
}
- (instancetype)retain {
	atomic_fetch_add(&HEADER(self)->retained, 1);
	return self;
}
- (oneway void)release {
	if (atomic_fetch_sub(&HEADER(self)->retained, 1) == 1) [self dealloc];
}
- (instancetype)autorelease {
	[innermost add:self];
	return self;
}
@end

@implementation NSAutoreleasePool
- (instancetype)init {
	outer = innermost;
	innermost = self;
	return self;
}
- (void)add:(id)object {
	objects = realloc(objects, (count + 1) * sizeof(id));
	objects[count++] = object;
}
- (void)drain {
	innermost = outer;
	for (NSUInteger i = 0; i < count; i++) [objects[i] release];
	free(objects);
	[self release];
}
@end

struct string {
	char *octets;
};

@implementation NSString
+ (instancetype)stringWithUTF8String:(const char *)text {
	NSString *string = [[[self alloc] init] autorelease];
	OWN(string, string)->octets = strdup(text);
	return string;
}
- (const char *)UTF8String {
	return OWN(string, self)->octets;
}
- (void)dealloc {
	free(OWN(string, self)->octets);
	[super dealloc];
}
@end

struct data {
	void *octets;
	NSUInteger length;
};

@implementation NSData
+ (instancetype)dataWithContentsOfFile:(NSString *)path {
	char octets[64];
	FILE *file = fopen(path.UTF8String, "r");
	if (file == NULL) return nil;
	size_t length = fread(octets, 1, sizeof octets, file);
	fclose(file);
	return [self dataWithOctets:octets length:length];
}
+ (instancetype)dataWithOctets:(const void *)octets length:(NSUInteger)length {
	NSData *data = [[[self alloc] init] autorelease];
	OWN(data, data)->octets = malloc(length + 1);
	memcpy(OWN(data, data)->octets, octets, length);
	OWN(data, data)->length = length;
	return data;
}
- (NSUInteger)length {
	return OWN(data, self)->length;
}
- (BOOL)writeToFile:(NSString *)path atomically:(BOOL)atomically {
	(void)atomically;
	FILE *file = fopen(path.UTF8String, "w");
	if (file == NULL) return NO;
	struct data *it = OWN(data, self);
	int whole = fwrite(it->octets, 1, it->length, file) == it->length;
	return fclose(file) == 0 && whole;
}
- (void)dealloc {
	free(OWN(data, self)->octets);
	[super dealloc];
}
@end

struct url {
	NSString *path;
};

@implementation NSURL
+ (NSURL *)fileURLWithPath:(NSString *)path {
	NSURL *url = [[[self alloc] init] autorelease];
	OWN(url, url)->path = [path retain];
	return url;
}
- (const char *)fileSystemRepresentation {
	return OWN(url, self)->path.UTF8String;
}
- (void)dealloc {
	[OWN(url, self)->path release];
	[super dealloc];
}
@end

struct error {
	NSString *description, *reason;
};

@implementation NSError
+ (instancetype)errorWithSentence:(const char *)sentence reason:(const char *)reason {
	NSError *error = [[[self alloc] init] autorelease];
	OWN(error, error)->description = [[NSString stringWithUTF8String:sentence] retain];
	if (reason != NULL) OWN(error, error)->reason = [[NSString stringWithUTF8String:reason] retain];
	return error;
}
- (NSString *)localizedDescription {
	return OWN(error, self)->description;
}
- (NSString *)localizedFailureReason {
	return OWN(error, self)->reason;
}
- (void)dealloc {
	[OWN(error, self)->description release];
	[OWN(error, self)->reason release];
	[super dealloc];
}
@end

struct exception {
	NSString *reason;
};

@implementation NSException
+ (void)raise:(const char *)sentence {
	NSException *exception = [[[self alloc] init] autorelease];
	OWN(exception, exception)->reason = [[NSString stringWithUTF8String:sentence] retain];
	@throw exception;
}
- (NSString *)reason {
	return OWN(exception, self)->reason;
}
@end

struct array {
	id *objects;
	NSUInteger count;
};

@implementation NSArray
+ (instancetype)arrayWithObject:(id)object {
	NSMutableArray *array = [NSMutableArray array];
	[array addObject:object];
	return (id)array;
}
- (NSUInteger)count {
	return OWN(array, self)->count;
}
- (id)objectAtIndex:(NSUInteger)index {
	struct array *it = OWN(array, self);
	if (index >= it->count) [NSException raise:"index beyond bounds"];
	return it->objects[index];
}
- (NSUInteger)indexOfObjectIdenticalTo:(id)object {
	struct array *it = OWN(array, self);
	for (NSUInteger i = 0; i < it->count; i++)
		if (it->objects[i] == object) return i;
	return NSNotFound;
}
- (void)dealloc {
	struct array *it = OWN(array, self);
	for (NSUInteger i = 0; i < it->count; i++) [it->objects[i] release];
	free(it->objects);
	[super dealloc];
}
@end

@implementation NSMutableArray
+ (instancetype)array {
	return [[[self alloc] init] autorelease];
}
- (void)addObject:(id)object {
	struct array *it = OWN(array, self);
	it->objects = realloc(it->objects, (it->count + 1) * sizeof(id));
	it->objects[it->count++] = [object retain];
}
@end

struct file_handle {
	int fd;
	BOOL closes;
};

@implementation NSFileHandle
- (instancetype)initWithFileDescriptor:(int)fd closeOnDealloc:(BOOL)close {
	OWN(file_handle, self)->fd = fd;
	OWN(file_handle, self)->closes = close;
	return self;
}
- (int)fileDescriptor {
	return OWN(file_handle, self)->fd;
}
- (void)dealloc {
	if (OWN(file_handle, self)->closes) close(OWN(file_handle, self)->fd);
	[super dealloc];
}
@end
