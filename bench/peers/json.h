// Writes one JSON document to standard output, piece by piece. Commas are put by the writer.

#ifndef JSON_H
#define JSON_H

#include <stdbool.h>
#include <stddef.h>

void begin(char bracket); // '{' or '['
void end(char bracket);
void key(const char *name); // then begin()

void put_string(const char *name, const char *value); // null for a null pointer
void put_number(const char *name, long long value);
void put_u64(const char *name, unsigned long long value); // a string: a JSON number would round it
void put_boolean(const char *name, bool value);
void put_hex(const char *name, const void *bytes, size_t size); // null for a null pointer

void put_element(const char *value); // of an array of strings

void end_document(void); // a line's end, after which another document may begin

#endif
