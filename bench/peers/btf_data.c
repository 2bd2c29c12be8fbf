/*
 * libbpf's typed data dump as a judge and as a peer.
 *
 *   btf_data text FILE                 one answer on standard output per request on standard input
 *   btf_data bench FILE NAME SIZE N    median time of N dumps of struct NAME over SIZE bytes: 1, 8, 15, ...
 *
 * FILE is raw BTF or an ELF file with it. Requests and answers are in the machine's byte order:
 *
 *   request   u32 type id, u32 flags, i32 indent level, u32 bytes of the indent, u32 bytes of data, indent, data
 *   answer    i32 what libbpf returned, u32 bytes of text, text
 *
 * Flags: 1 compact, 2 skip names, 4 emit zeroes, 8 a dumper of its own for this request. Without flag 8 names are
 * numbered over all requests since the last one that had it.
 *
 * libbpf looks at whole types when it asks what is zero, the missing part of cut-off data included. What follows the
 * data here is 0xff, so that no missing byte counts as zero.
 */
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "timing.h"

#define BEYOND (1 << 20)

static char *text;
static size_t text_length, text_room;

static void die(const char *what)
{
	fprintf(stderr, "btf_data: %s\n", what);
	exit(2);
}

static void *room(size_t size)
{
	void *got = aligned_alloc(64, (size + 63) / 64 * 64);

	if (!got)
		die("out of memory");
	return got;
}

static void append(void *context, const char *format, va_list arguments)
{
	va_list again;
	int length;

	(void)context;
	va_copy(again, arguments);
	length = vsnprintf(text + text_length, text_room - text_length, format, arguments);
	if (length >= 0 && text_length + length >= text_room) {
		text_room = (text_length + length + 1) * 2;
		text = realloc(text, text_room);
		if (!text)
			die("out of memory");
		vsnprintf(text + text_length, text_room - text_length, format, again);
	}
	va_end(again);
	if (length > 0)
		text_length += length;
}

static int quiet(enum libbpf_print_level level, const char *format, va_list arguments)
{
	(void)level;
	(void)format;
	(void)arguments;
	return 0;
}

static struct btf_dump *dumper(const struct btf *btf)
{
	struct btf_dump *dump = btf_dump__new(btf, append, NULL, NULL);

	if (!dump)
		die("no dumper");
	return dump;
}

static int read_all(void *to, size_t size)
{
	return fread(to, 1, size, stdin) == size;
}

static void answer_requests(const struct btf *btf)
{
	struct btf_dump *dump = NULL;
	uint32_t request[5];

	while (read_all(request, sizeof(request))) {
		char *indent = room(request[3] + 1);
		unsigned char *data = room((size_t)request[4] + BEYOND);
		LIBBPF_OPTS(btf_dump_type_data_opts, options);
		int32_t returned;
		uint32_t length;

		memset(data, 0xff, (size_t)request[4] + BEYOND);
		if (!read_all(indent, request[3]) || !read_all(data, request[4]))
			die("a request is cut off");
		indent[request[3]] = 0;
		options.indent_str = indent;
		options.indent_level = (int32_t)request[2];
		options.compact = request[1] & 1;
		options.skip_names = request[1] & 2;
		options.emit_zeroes = request[1] & 4;
		if (request[1] & 8 || !dump) {
			btf_dump__free(dump);
			dump = dumper(btf);
		}
		text_length = 0;
		returned = btf_dump__dump_type_data(dump, request[0], data, request[4], &options);
		length = text_length;
		fwrite(&returned, sizeof(returned), 1, stdout);
		fwrite(&length, sizeof(length), 1, stdout);
		fwrite(text, 1, length, stdout);
		free(indent);
		free(data);
	}
	btf_dump__free(dump);
}

static void bench(const struct btf *btf, const char *name, size_t length, int count)
{
	static unsigned char data[BEYOND];
	struct btf_dump *dump = dumper(btf);
	int id = btf__find_by_name_kind(btf, name, BTF_KIND_STRUCT);
	double *times;
	size_t byte;
	int at;

	if (id < 0 || length > sizeof(data) || count < 1)
		die("no such struct, too many bytes, or no repetition");
	for (byte = 0; byte < length; byte++)
		data[byte] = byte * 7 + 1;
	times = room(count * sizeof(*times));
	for (at = -3; at < count; at++) {
		LIBBPF_OPTS(btf_dump_type_data_opts, options);
		double start = time_now();

		text_length = 0;
		if (btf_dump__dump_type_data(dump, id, data, length, &options) < 0)
			die("the dump fails");
		if (at >= 0)
			times[at] = time_now() - start;
	}
	print_times(times, count, NULL, 0);
	free(times);
	btf_dump__free(dump);
}

int main(int argc, char **argv)
{
	struct btf *btf;

	if (argc < 3)
		die("usage: btf_data text FILE | bench FILE NAME SIZE N");
	text_room = 1 << 16;
	text = room(text_room);
	libbpf_set_print(quiet);
	btf = btf__parse(argv[2], NULL);
	if (!btf)
		die("the file has no BTF");
	if (!strcmp(argv[1], "text"))
		answer_requests(btf);
	else if (!strcmp(argv[1], "bench") && argc == 6)
		bench(btf, argv[3], strtoul(argv[4], NULL, 10), atoi(argv[5]));
	else
		die("usage: btf_data text FILE | bench FILE NAME SIZE N");
	btf__free(btf);
	free(text);
	return 0;
}
