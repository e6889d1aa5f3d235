/* XPC for Linux, as far as this project uses it: dictionaries and arrays of plain values. */
#include <xpc/xpc.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fake.h"
#include "xpc_text.h"

#define ENTRIES 24

struct entry {
	char key[64];
	enum { ABSENT, BOOL, NUMBER, TEXT, UUID } type;
	uint64_t number;
	char text[64];
	uint8_t uuid[16];
};

struct object {
	atomic_int references;
	struct entry entries[ENTRIES];
};

atomic_int fake_xpc_objects;

xpc_object_t xpc_dictionary_create(const char *const *keys, const xpc_object_t *values, size_t count) {
	(void)keys;
	(void)values;
	(void)count;
	struct object *object = calloc(1, sizeof *object);
	object->references = 1;
	atomic_fetch_add(&fake_xpc_objects, 1);
	return object;
}

xpc_object_t xpc_retain(xpc_object_t of) {
	struct object *object = of;
	atomic_fetch_add(&object->references, 1);
	return object;
}

void xpc_release(xpc_object_t of) {
	struct object *object = of;
	if (atomic_fetch_sub(&object->references, 1) != 1) return;
	free(object);
	atomic_fetch_sub(&fake_xpc_objects, 1);
}

static struct entry *entry(xpc_object_t of, const char *key, int type) {
	struct object *object = of;
	for (int i = 0; i < ENTRIES; i++) {
		struct entry *it = &object->entries[i];
		if (it->type != ABSENT && strcmp(it->key, key) == 0) return type == ABSENT || (int)it->type == type ? it : NULL;
	}
	return NULL;
}

static struct entry *put(xpc_object_t of, const char *key, int type) {
	struct object *object = of;
	struct entry *it = entry(of, key, ABSENT);
	for (int i = 0; it == NULL; i++) {
		if (i == ENTRIES) abort();
		if (object->entries[i].type == ABSENT) it = &object->entries[i];
	}
	it->type = type;
	snprintf(it->key, sizeof it->key, "%s", key);
	return it;
}

void xpc_dictionary_set_bool(xpc_object_t of, const char *key, bool value) {
	put(of, key, BOOL)->number = value;
}

void xpc_dictionary_set_uint64(xpc_object_t of, const char *key, uint64_t value) {
	put(of, key, NUMBER)->number = value;
}

void xpc_dictionary_set_string(xpc_object_t of, const char *key, const char *value) {
	struct entry *it = put(of, key, TEXT);
	snprintf(it->text, sizeof it->text, "%s", value);
}

void xpc_dictionary_set_uuid(xpc_object_t of, const char *key, const uuid_t value) {
	memcpy(put(of, key, UUID)->uuid, value, 16);
}

uint64_t xpc_dictionary_get_uint64(xpc_object_t of, const char *key) {
	struct entry *it = entry(of, key, NUMBER);
	return it == NULL ? 0 : it->number;
}

const char *xpc_dictionary_get_string(xpc_object_t of, const char *key) {
	struct entry *it = entry(of, key, TEXT);
	return it == NULL ? NULL : it->text;
}

const uint8_t *xpc_dictionary_get_uuid(xpc_object_t of, const char *key) {
	struct entry *it = entry(of, key, UUID);
	return it == NULL ? NULL : it->uuid;
}

size_t xpc_array_get_count(xpc_object_t of) {
	size_t count = 0;
	while (count < ENTRIES && ((struct object *)of)->entries[count].type != ABSENT) count++;
	return count;
}

const char *xpc_array_get_string(xpc_object_t of, size_t index) {
	struct entry *it = &((struct object *)of)->entries[index];
	return index < ENTRIES && it->type == TEXT ? it->text : NULL;
}

void xpc_text(xpc_object_t of, const char *key, char *text, size_t size) {
	struct entry *it = entry(of, key, ABSENT);
	size_t used = 0;
	text[0] = 0;
	if (it == NULL) return;
	if (it->type == TEXT) snprintf(text, size, "%s", it->text);
	else if (it->type == BOOL) snprintf(text, size, "%s", it->number ? "true" : "false");
	else if (it->type == NUMBER) snprintf(text, size, "%llu", (unsigned long long)it->number);
	else
		for (int i = 0; i < 16; i++) used += (size_t)snprintf(text + used, size - used, "%02x", it->uuid[i]);
}
