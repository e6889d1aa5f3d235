#include "settings.h"

#include <dlfcn.h>
#include <string.h>

#define UUID_OCTETS 16
#define UUID_TEXT 37

uint32_t setting_mode(const struct conf *conf) {
	char mode[SETTING_SIZE];
	conf_text(conf, "mode", mode, sizeof mode);
	if (strcmp(mode, "shared") == 0) return VMNET_SHARED_MODE;
	if (strcmp(mode, "host") == 0) return VMNET_HOST_MODE;
	if (strcmp(mode, "bridged") == 0) return VMNET_BRIDGED_MODE;
	return 0;
}

const char *later_key(const char *name) {
	const char *const *key = dlsym(RTLD_DEFAULT, name);
	return key == NULL ? NULL : *key;
}

static int digit(char c) {
	if (c >= '0' && c <= '9') return c - '0';
	if (c >= 'a' && c <= 'f') return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* 8-4-4-4-12 hexadecimal digits (RFC 9562, section 4) */
static int parse_uuid(const char *text, uint8_t *uuid) {
	for (int i = 0; i < UUID_OCTETS; i++) {
		if (i == 4 || i == 6 || i == 8 || i == 10) {
			if (*text++ != '-') return 0;
		}
		int high = digit(text[0]);
		int low = high < 0 ? -1 : digit(text[1]);
		if (low < 0) return 0;
		uuid[i] = (uint8_t)(high << 4 | low);
		text += 2;
	}
	return *text == 0;
}

static void put_uuid(struct text *out, const char *key, const uint8_t *uuid) {
	static const char digits[] = "0123456789abcdef";
	char text[UUID_TEXT], *at = text;
	for (int i = 0; i < UUID_OCTETS; i++) {
		if (i == 4 || i == 6 || i == 8 || i == 10) *at++ = '-';
		*at++ = digits[uuid[i] >> 4];
		*at++ = digits[uuid[i] & 15];
	}
	*at = 0;
	text_put(out, key, text);
}

static int describe_text(xpc_object_t description, const char *key, const struct conf *conf, const char *name) {
	char value[SETTING_SIZE];
	int32_t length = conf_text(conf, name, value, sizeof value);
	if (length > 0) xpc_dictionary_set_string(description, key, value);
	return length >= 0;
}

static int describe_uuid(xpc_object_t description, const char *key, const struct conf *conf, const char *name) {
	char value[SETTING_SIZE];
	uint8_t uuid[UUID_OCTETS];
	int32_t length = conf_text(conf, name, value, sizeof value);
	if (length == 0) return 1;
	if (length < 0 || !parse_uuid(value, uuid)) return 0;
	xpc_dictionary_set_uuid(description, key, uuid);
	return 1;
}

/* The name of the first setting that cannot be read, or NULL. */
static const char *describe(xpc_object_t description, const struct conf *conf) {
	uint32_t mode = setting_mode(conf);
	char identifier[SETTING_SIZE];
	/* a named network of mode host has no DHCP, and names the host's address under other keys */
	int named = conf_text(conf, "identifier", identifier, sizeof identifier) != 0;
	if (mode == 0) return "mode";
	xpc_dictionary_set_uint64(description, vmnet_operation_mode_key, mode);
	const struct {
		const char *key, *name;
	} texts[] = {
		{named ? vmnet_host_ip_address_key : vmnet_start_address_key, "gateway"},
		{named ? vmnet_host_subnet_mask_key : vmnet_subnet_mask_key, "mask"},
		{vmnet_end_address_key, "end"},
		{vmnet_shared_interface_name_key, "interface"},
		{vmnet_nat66_prefix_key, "nat66"},
	};
	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
		if (!describe_text(description, texts[i].key, conf, texts[i].name)) return texts[i].name;
	}
	if (!describe_uuid(description, vmnet_interface_id_key, conf, "uuid")) return "uuid";
	if (!describe_uuid(description, vmnet_network_identifier_key, conf, "identifier")) return "identifier";
	if (conf_number(conf, "isolation", 0) != 0) xpc_dictionary_set_bool(description, vmnet_enable_isolation_key, true);
	return NULL;
}

xpc_object_t settings_describe(const struct conf *conf, int with_header, const char **wrong) {
	xpc_object_t description = xpc_dictionary_create(NULL, NULL, 0);
	*wrong = describe(description, conf);
	if (*wrong != NULL) {
		xpc_release(description);
		return NULL;
	}
	if (with_header) {
		xpc_dictionary_set_bool(description, later_key("vmnet_enable_virtio_header_key"), true);
		xpc_dictionary_set_bool(description, vmnet_enable_tso_key, true);
	}
	return description;
}

void settings_tell(xpc_object_t parameters, struct text *out) {
	const struct {
		const char *key, *name;
	} texts[] = {
		{vmnet_mac_address_key, "mac"},	   {vmnet_start_address_key, "gateway"}, {vmnet_end_address_key, "end"},
		{vmnet_subnet_mask_key, "mask"},   {vmnet_nat66_prefix_key, "nat66"},
	};
	const uint8_t *uuid = xpc_dictionary_get_uuid(parameters, vmnet_interface_id_key);
	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
		const char *value = xpc_dictionary_get_string(parameters, texts[i].key);
		if (value != NULL) text_put(out, texts[i].name, value);
	}
	if (uuid != NULL) put_uuid(out, "uuid", uuid);
	text_put_number(out, "mtu", (int64_t)xpc_dictionary_get_uint64(parameters, vmnet_mtu_key));
}
