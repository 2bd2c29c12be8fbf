#include "json.h"

#include <stdio.h>

static bool needs_comma;

static void separate(void)
{
	if (needs_comma)
		putchar(',');
	needs_comma = true;
}

void begin(char bracket)
{
	separate();
	putchar(bracket);
	needs_comma = false;
}

void end(char bracket)
{
	putchar(bracket);
	needs_comma = true;
}

static void quoted(const char *text)
{
	putchar('"');
	for (; *text; text++) {
		unsigned char byte = *text;

		if (byte == '"' || byte == '\\')
			printf("\\%c", byte);
		else if (byte < 0x20)
			printf("\\u%04x", byte);
		else
			putchar(byte);
	}
	putchar('"');
}

void key(const char *name)
{
	separate();
	quoted(name);
	putchar(':');
	needs_comma = false;
}

void put_number(const char *name, long long value)
{
	key(name);
	separate();
	printf("%lld", value);
}

void put_u64(const char *name, unsigned long long value)
{
	key(name);
	separate();
	printf("\"%llu\"", value);
}

void put_boolean(const char *name, bool value)
{
	key(name);
	separate();
	fputs(value ? "true" : "false", stdout);
}

void put_hex(const char *name, const void *bytes, size_t size)
{
	static const char digits[] = "0123456789abcdef";
	const unsigned char *at = bytes;

	key(name);
	separate();
	if (!bytes) {
		fputs("null", stdout);
		return;
	}
	putchar('"');
	for (size_t i = 0; i < size; i++) {
		putchar(digits[at[i] >> 4]);
		putchar(digits[at[i] & 15]);
	}
	putchar('"');
}

void put_element(const char *value)
{
	separate();
	if (value)
		quoted(value);
	else
		fputs("null", stdout);
}

void put_string(const char *name, const char *value)
{
	key(name);
	put_element(value);
}

void end_document(void)
{
	putchar('\n');
	fflush(stdout);
	needs_comma = false;
}
