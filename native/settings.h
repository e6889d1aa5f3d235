/* The key=value settings of an interface as vmnet's description of it, and vmnet's answer as key=value facts. */
#ifndef SETTINGS_H
#define SETTINGS_H

#include <vmnet/vmnet.h>

#include "text.h"

/* longest value of a setting: an IPv6 prefix, a UUID, a name */
#define SETTING_SIZE 64

/* VMNET_*_MODE, or 0 when the settings name none */
uint32_t setting_mode(const struct conf *conf);

/* The key that a later macOS has under this name, or NULL. */
const char *later_key(const char *name);

/* An XPC dictionary to be released; NULL when a setting cannot be read, whose name `wrong` then is. */
xpc_object_t settings_describe(const struct conf *conf, int with_header, const char **wrong);

/* What the system told of a started interface, under the ABI's names. */
void settings_tell(xpc_object_t parameters, struct text *out);

#endif
