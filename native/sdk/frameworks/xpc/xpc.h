/* XPC: the calls that this project uses, declared by itself. */
#ifndef LIMANET_XPC_H
#define LIMANET_XPC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifndef SDK_CHECK
typedef void *xpc_object_t;
typedef unsigned char uuid_t[16];
#endif

xpc_object_t xpc_retain(xpc_object_t object);
void xpc_release(xpc_object_t object);
xpc_object_t xpc_dictionary_create(const char *const *keys, const xpc_object_t *values, size_t count);
void xpc_dictionary_set_bool(xpc_object_t dictionary, const char *key, bool value);
void xpc_dictionary_set_uint64(xpc_object_t dictionary, const char *key, uint64_t value);
void xpc_dictionary_set_string(xpc_object_t dictionary, const char *key, const char *value);
void xpc_dictionary_set_uuid(xpc_object_t dictionary, const char *key, const uuid_t value);
uint64_t xpc_dictionary_get_uint64(xpc_object_t dictionary, const char *key);
const char *xpc_dictionary_get_string(xpc_object_t dictionary, const char *key);
const uint8_t *xpc_dictionary_get_uuid(xpc_object_t dictionary, const char *key);
size_t xpc_array_get_count(xpc_object_t array);
const char *xpc_array_get_string(xpc_object_t array, size_t index);

#endif
