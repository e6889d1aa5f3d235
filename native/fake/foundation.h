/* What the fake Foundation has besides native/sdk's, for the fake Virtualization. */
#ifndef FAKE_FOUNDATION_H
#define FAKE_FOUNDATION_H

#import <Foundation/Foundation.h>

#define OWN_WORDS 14
/* Memory of an object for its class, zeros at first. */
void *own_of(id object);
#define OWN(type, object) ((struct type *)own_of(object))

BOOL is_of(id object, Class class);

@interface NSObject (Fake)
+ (Class)self;
@end

@interface NSData (Fake)
+ (instancetype)dataWithOctets:(const void *)octets length:(NSUInteger)length;
- (NSUInteger)length;
@end

@interface NSURL (Fake)
- (const char *)fileSystemRepresentation;
@end

@interface NSError (Fake)
+ (instancetype)errorWithSentence:(const char *)sentence reason:(const char *)reason;
@end

@interface NSException (Fake)
+ (void)raise:(const char *)sentence;
@end

@interface NSFileHandle (Fake)
- (int)fileDescriptor;
@end

#endif
