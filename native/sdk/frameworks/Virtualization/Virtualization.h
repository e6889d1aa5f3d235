/* Virtualization.framework: the classes and methods that this project uses, declared by itself. */
#ifndef VIRTUALIZATION_H
#define VIRTUALIZATION_H

#import <Foundation/Foundation.h>
#import <dispatch/dispatch.h>

@interface VZBootLoader : NSObject
@end

@interface VZLinuxBootLoader : VZBootLoader
- (instancetype)initWithKernelURL:(NSURL *)kernel;
@property(copy) NSString *commandLine;
@property(copy) NSURL *initialRamdiskURL;
@end

typedef NSUInteger VZEFIVariableStoreInitializationOptions;

@interface VZEFIVariableStore : NSObject
- (instancetype)initWithURL:(NSURL *)url;
- (instancetype)initCreatingVariableStoreAtURL:(NSURL *)url
                                       options:(VZEFIVariableStoreInitializationOptions)options
                                         error:(NSError **)error;
@end

@interface VZEFIBootLoader : VZBootLoader
@property(strong) VZEFIVariableStore *variableStore;
@end

@interface VZGenericMachineIdentifier : NSObject
- (instancetype)initWithDataRepresentation:(NSData *)data;
@property(readonly, copy) NSData *dataRepresentation;
@end

@interface VZPlatformConfiguration : NSObject
@end

@interface VZGenericPlatformConfiguration : VZPlatformConfiguration
@property(copy) VZGenericMachineIdentifier *machineIdentifier;
@end

@interface VZStorageDeviceAttachment : NSObject
@end

typedef NSInteger VZDiskImageCachingMode;
enum { VZDiskImageCachingModeCached = 2 };
typedef NSInteger VZDiskImageSynchronizationMode;
enum { VZDiskImageSynchronizationModeFsync = 2 };

@interface VZDiskImageStorageDeviceAttachment : VZStorageDeviceAttachment
- (instancetype)initWithURL:(NSURL *)url
                   readOnly:(BOOL)readOnly
                cachingMode:(VZDiskImageCachingMode)cachingMode
        synchronizationMode:(VZDiskImageSynchronizationMode)synchronizationMode
                      error:(NSError **)error;
@end

@interface VZStorageDeviceConfiguration : NSObject
@end

@interface VZVirtioBlockDeviceConfiguration : VZStorageDeviceConfiguration
- (instancetype)initWithAttachment:(VZStorageDeviceAttachment *)attachment;
@end

@interface VZSerialPortAttachment : NSObject
@end

@interface VZFileHandleSerialPortAttachment : VZSerialPortAttachment
- (instancetype)initWithFileHandleForReading:(NSFileHandle *)reading
                        fileHandleForWriting:(NSFileHandle *)writing;
@end

@interface VZSerialPortConfiguration : NSObject
@property(strong) VZSerialPortAttachment *attachment;
@end

@interface VZVirtioConsoleDeviceSerialPortConfiguration : VZSerialPortConfiguration
@end

@interface VZEntropyDeviceConfiguration : NSObject
@end

@interface VZVirtioEntropyDeviceConfiguration : VZEntropyDeviceConfiguration
@end

@interface VZMemoryBalloonDeviceConfiguration : NSObject
@end

@interface VZVirtioTraditionalMemoryBalloonDeviceConfiguration : VZMemoryBalloonDeviceConfiguration
@end

@interface VZSocketDeviceConfiguration : NSObject
@end

@interface VZVirtioSocketDeviceConfiguration : VZSocketDeviceConfiguration
@end

@interface VZMACAddress : NSObject
- (instancetype)initWithString:(NSString *)text;
@property(readonly, copy) NSString *string;
@end

@interface VZNetworkDeviceAttachment : NSObject
@end

@interface VZNATNetworkDeviceAttachment : VZNetworkDeviceAttachment
@end

@interface VZFileHandleNetworkDeviceAttachment : VZNetworkDeviceAttachment
- (instancetype)initWithFileHandle:(NSFileHandle *)handle;
@property NSInteger maximumTransmissionUnit;
@end

@interface VZNetworkDeviceConfiguration : NSObject
@property(copy) VZMACAddress *MACAddress;
@property(strong) VZNetworkDeviceAttachment *attachment;
@end

@interface VZVirtioNetworkDeviceConfiguration : VZNetworkDeviceConfiguration
@end

@interface VZVirtualMachineConfiguration : NSObject
@property(strong) VZBootLoader *bootLoader;
@property NSUInteger CPUCount;
@property uint64_t memorySize;
@property(copy) VZPlatformConfiguration *platform;
@property(copy) NSArray<VZEntropyDeviceConfiguration *> *entropyDevices;
@property(copy) NSArray<VZMemoryBalloonDeviceConfiguration *> *memoryBalloonDevices;
@property(copy) NSArray<VZNetworkDeviceConfiguration *> *networkDevices;
@property(copy) NSArray<VZSerialPortConfiguration *> *serialPorts;
@property(copy) NSArray<VZSocketDeviceConfiguration *> *socketDevices;
@property(copy) NSArray<VZStorageDeviceConfiguration *> *storageDevices;
@property(class, readonly) NSUInteger minimumAllowedCPUCount;
@property(class, readonly) NSUInteger maximumAllowedCPUCount;
@property(class, readonly) uint64_t minimumAllowedMemorySize;
@property(class, readonly) uint64_t maximumAllowedMemorySize;
- (BOOL)validateWithError:(NSError **)error;
@end

@interface VZNetworkDevice : NSObject
@property(strong) VZNetworkDeviceAttachment *attachment;
@end

@interface VZSocketDevice : NSObject
@end

@interface VZVirtioSocketConnection : NSObject
@property(readonly) int fileDescriptor;
@end

@interface VZVirtioSocketDevice : VZSocketDevice
- (void)connectToPort:(uint32_t)port
    completionHandler:(void (^)(VZVirtioSocketConnection *connection, NSError *error))handler;
@end

@class VZVirtualMachine;

@protocol VZVirtualMachineDelegate <NSObject>
@optional
- (void)guestDidStopVirtualMachine:(VZVirtualMachine *)machine;
- (void)virtualMachine:(VZVirtualMachine *)machine didStopWithError:(NSError *)error;
- (void)virtualMachine:(VZVirtualMachine *)machine
                         networkDevice:(VZNetworkDevice *)device
    attachmentWasDisconnectedWithError:(NSError *)error;
@end

@interface VZVirtualMachine : NSObject
- (instancetype)initWithConfiguration:(VZVirtualMachineConfiguration *)configuration
                                queue:(dispatch_queue_t)queue;
@property(class, readonly, getter=isSupported) BOOL supported;
@property(weak) id<VZVirtualMachineDelegate> delegate;
@property(readonly, copy) NSArray<VZNetworkDevice *> *networkDevices;
@property(readonly, copy) NSArray<VZSocketDevice *> *socketDevices;
- (void)startWithCompletionHandler:(void (^)(NSError *error))handler;
- (BOOL)requestStopWithError:(NSError **)error;
- (void)stopWithCompletionHandler:(void (^)(NSError *error))handler;
@end

#endif
