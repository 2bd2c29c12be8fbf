// Answers of btf_peer, and the texts that go into them.

#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "btf_peer.h"
#include "json.h"

// ---- Texts that grow ------------------------------------------------------------------------------------------------

struct text log_text;

void *must(void *memory)
{
	if (!memory) {
		fputs("btf_peer: no memory\n", stderr);
		exit(2);
	}
	return memory;
}

void append(struct text *text, const char *format, va_list list)
{
	for (;;) {
		va_list again;
		int length;

		va_copy(again, list);
		length = vsnprintf(text->bytes + text->size, text->room - text->size, format, again);
		va_end(again);
		if (length < 0)
			return;
		if (text->size + length < text->room) {
			text->size += length;
			return;
		}
		text->room = (text->size + length + 1) * 2;
		text->bytes = must(realloc(text->bytes, text->room));
	}
}

void clear(struct text *text)
{
	text->size = 0;
	if (text->bytes)
		*text->bytes = 0;
}

int log_line(enum libbpf_print_level level, const char *format, va_list list)
{
	if (level != LIBBPF_DEBUG)
		append(&log_text, format, list);
	return 0;
}

// ---- Answers --------------------------------------------------------------------------------------------------------

void put_error(int error)
{
	const char *name = error == 524 ? "ENOTSUPP" : strerrorname_np(error);

	key("error");
	begin('{');
	put_number("errno", error);
	put_string("name", name);
	put_string("log", log_text.bytes ? log_text.bytes : "");
	end('}');
}

// The answer of a command that has nothing more to say than whether it failed; `error` is positive.
int failed_with(int error)
{
	begin('{');
	put_error(error);
	end('}');
	return 1;
}

int write_out(const char *name, const char *path, const void *bytes, size_t size)
{
	FILE *file;

	if (!strcmp(path, "-")) {
		put_hex(name, bytes, size);
		return 0;
	}
	file = fopen(path, "wb");
	if (!file)
		return errno;
	if (fwrite(bytes, 1, size, file) != size) {
		fclose(file);
		return EIO;
	}
	return fclose(file) ? errno : 0;
}

// The members of an answer that tell of a blob, which goes to `path`.
int put_blob(const char *name, const char *path, const struct btf *btf)
{
	__u32 size = 0;
	const void *bytes = btf__raw_data(btf, &size);
	int error;

	if (!bytes)
		return errno;
	key(name);
	begin('{');
	put_number("types", btf__type_cnt(btf));
	put_number("bytes", size);
	error = write_out("hex", path, bytes, size);
	end('}');
	return error;
}

int put_result(const char *path, const struct btf *btf)
{
	int error;

	begin('{');
	error = put_blob("result", path, btf);
	if (error)
		put_error(error);
	end('}');
	return error ? 1 : 0;
}
