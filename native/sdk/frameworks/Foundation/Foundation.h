/* Foundation: the classes and methods that this project uses, declared by itself. */
#ifndef FOUNDATION_H
#define FOUNDATION_H

#include <stdint.h>

typedef signed char BOOL;
#define YES ((BOOL)1)
#define NO ((BOOL)0)
#define nil ((void *)0)
typedef long NSInteger;
typedef unsigned long NSUInteger;
#define NSNotFound ((NSInteger)0x7fffffffffffffff)

@protocol NSObject
- (instancetype)retain;
- (oneway void)release;
- (instancetype)autorelease;
@end

@interface NSObject <NSObject> {
	Class isa;
}
+ (instancetype)alloc;
+ (instancetype)new;
- (instancetype)init;
- (void)dealloc;
@end

@interface NSString : NSObject
+ (instancetype)stringWithUTF8String:(const char *)octets;
@property(readonly) const char *UTF8String;
@end

@interface NSData : NSObject
+ (instancetype)dataWithContentsOfFile:(NSString *)path;
- (BOOL)writeToFile:(NSString *)path atomically:(BOOL)atomically;
@end

@interface NSURL : NSObject
+ (NSURL *)fileURLWithPath:(NSString *)path;
@end

@interface NSError : NSObject
@property(readonly, copy) NSString *localizedDescription;
@property(readonly, copy) NSString *localizedFailureReason;
@end

@interface NSException : NSObject
@property(readonly, copy) NSString *reason;
@end

@interface NSArray<__covariant ObjectType> : NSObject
+ (instancetype)arrayWithObject:(ObjectType)object;
@property(readonly) NSUInteger count;
- (ObjectType)objectAtIndex:(NSUInteger)index;
- (NSUInteger)indexOfObjectIdenticalTo:(ObjectType)object;
@end

@interface NSMutableArray<ObjectType> : NSArray <ObjectType>
+ (instancetype)array;
- (void)addObject:(ObjectType)object;
@end

@interface NSFileHandle : NSObject
- (instancetype)initWithFileDescriptor:(int)descriptor closeOnDealloc:(BOOL)close;
@end

#endif
