/* The key=value lines of the ABI. */
#ifndef TEXT_H
#define TEXT_H

#include <stdint.h>

struct text {
	char *at;
	uint32_t used, size;
};

/* Begins an empty text; memory of size 0 takes nothing. */
struct text text_begin(char *memory, uint32_t size);
void text_put(struct text *text, const char *key, const char *value);
void text_put_number(struct text *text, const char *key, int64_t value);
/* a line without a key */
void text_put_line(struct text *text, const char *line);

struct conf {
	const char *text;
	uint32_t length;
};

/* Copies a key's value, ended by zero; its length, 0 when it is not there, -1 when it does not fit. */
int32_t conf_text(const struct conf *conf, const char *key, char *value, uint32_t size);
/* A decimal value, or the default when it is not there or is none. */
uint32_t conf_number(const struct conf *conf, const char *key, uint32_t otherwise);

#endif
