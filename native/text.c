#include "text.h"

#include <string.h>

struct text text_begin(char *memory, uint32_t size) {
	struct text text = {memory, 0, memory == NULL ? 0 : size};
	if (text.size > 0) memory[0] = 0;
	return text;
}

static void append(struct text *text, const char *octets, uint32_t length) {
	if (text->used + length >= text->size) return;
	memcpy(text->at + text->used, octets, length);
	text->used += length;
	text->at[text->used] = 0;
}

void text_put(struct text *text, const char *key, const char *value) {
	uint32_t length = (uint32_t)(strlen(key) + strlen(value) + 2);
	/* a line comes whole or not at all */
	if (text->used + length >= text->size) return;
	append(text, key, (uint32_t)strlen(key));
	append(text, "=", 1);
	text_put_line(text, value);
}

void text_put_line(struct text *text, const char *line) {
	uint32_t length = (uint32_t)strlen(line);
	if (text->used + length + 1 >= text->size) return;
	append(text, line, length);
	append(text, "\n", 1);
}

void text_put_number(struct text *text, const char *key, int64_t value) {
	char digits[24];
	uint32_t at = sizeof digits;
	uint64_t rest = value < 0 ? -(uint64_t)value : (uint64_t)value;
	digits[--at] = 0;
	do digits[--at] = (char)('0' + rest % 10);
	while ((rest /= 10) != 0);
	if (value < 0) digits[--at] = '-';
	text_put(text, key, digits + at);
}

int32_t conf_text(const struct conf *conf, const char *key, char *value, uint32_t size) {
	uint32_t key_length = (uint32_t)strlen(key);
	const char *line = conf->text, *end = conf->text + conf->length;
	value[0] = 0;
	while (line < end) {
		const char *next = memchr(line, '\n', (size_t)(end - line));
		uint32_t length = (uint32_t)((next == NULL ? end : next) - line);
		if (length > key_length && line[key_length] == '=' && memcmp(line, key, key_length) == 0) {
			uint32_t rest = length - key_length - 1;
			if (rest >= size) return -1;
			memcpy(value, line + key_length + 1, rest);
			value[rest] = 0;
			return (int32_t)rest;
		}
		line += length + 1;
	}
	return 0;
}

uint32_t conf_number(const struct conf *conf, const char *key, uint32_t otherwise) {
	char text[12];
	uint64_t value = 0;
	if (conf_text(conf, key, text, sizeof text) <= 0) return otherwise;
	for (const char *c = text; *c != 0; c++) {
		if (*c < '0' || *c > '9') return otherwise;
		value = value * 10 + (uint64_t)(*c - '0');
	}
	return value > UINT32_MAX ? otherwise : (uint32_t)value;
}
