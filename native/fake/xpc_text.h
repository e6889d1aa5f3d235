/* A value of a dictionary as text, for the tests. */
#ifndef XPC_TEXT_H
#define XPC_TEXT_H

#include <xpc/xpc.h>

void xpc_text(xpc_object_t dictionary, const char *key, char *text, size_t size);

#endif
