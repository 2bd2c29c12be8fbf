// Commands of btf_peer that make text.

#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "btf_peer.h"
#include "json.h"

static struct text dumped;

static void into_text(void *context, const char *format, va_list list)
{
	append(context, format, list);
}

static const char *value_of(const char *option, const char *name)
{
	size_t length = strlen(name);

	return strncmp(option, name, length) || option[length] != '=' ? NULL : option + length + 1;
}

int decl_command(int count, char **args, struct btf *base)
{
	LIBBPF_OPTS(btf_dump_emit_type_decl_opts, options);
	struct btf *btf = use(args[0], base);
	struct btf_dump *dump;
	const char *text;
	int error;

	for (int i = 2; i < count; i++) {
		if (!strcmp(args[i], "strip_mods"))
			options.strip_mods = true;
		else if ((text = value_of(args[i], "indent_level")))
			options.indent_level = atoi(text);
		else if ((text = value_of(args[i], "name")))
			options.field_name = text;
		else
			return failed_with(EINVAL);
	}
	clear(&dumped);
	dump = btf ? btf_dump__new(btf, into_text, &dumped, NULL) : NULL;
	if (!dump)
		return failed_with(errno);
	error = -btf_dump__emit_type_decl(dump, strtoul(args[1], NULL, 10), &options);
	btf_dump__free(dump);
	begin('{');
	put_string("text", dumped.bytes ? dumped.bytes : "");
	if (error)
		put_error(error);
	end('}');
	return error ? 1 : 0;
}

// Plain text, or the member "text" of an answer in a batch. The error is told behind it.
static int put_text(int error)
{
	if (batch) {
		begin('{');
		put_string("text", dumped.bytes ? dumped.bytes : "");
		if (error)
			put_error(error);
		end('}');
	} else {
		if (dumped.size)
			fwrite(dumped.bytes, 1, dumped.size, stdout);
		if (error)
			fprintf(stderr, "%s\n%s", strerrorname_np(error), log_text.bytes ? log_text.bytes : "");
	}
	return error ? 1 : 0;
}

int dumpc_command(int count, char **args, struct btf *base)
{
	struct btf *btf = use(args[0], base);
	struct btf_dump *dump;
	int error = 0;

	clear(&dumped);
	dump = btf ? btf_dump__new(btf, into_text, &dumped, NULL) : NULL;
	if (!dump)
		return put_text(errno);
	for (int i = 1; i < count && !error; i++)
		error = -btf_dump__dump_type(dump, strtoul(args[i], NULL, 10));
	if (count == 1) {
		for (__u32 id = base ? btf__type_cnt(base) : 1; id < btf__type_cnt(btf) && !error; id++)
			error = -btf_dump__dump_type(dump, id);
	}
	btf_dump__free(dump);
	return put_text(error);
}

static void say(const char *format, ...)
{
	va_list list;

	va_start(list, format);
	append(&dumped, format, list);
	va_end(list);
}

int layout_command(int count, char **args, struct btf *base)
{
	struct btf *btf = use(args[0], base);

	(void)count;
	clear(&dumped);
	if (!btf)
		return put_text(errno);
	for (__u32 id = base ? btf__type_cnt(base) : 1; id < btf__type_cnt(btf); id++) {
		long long size = btf__resolve_size(btf, id);
		int alignment;

		// 0 stands for an error, which is in errno then.
		errno = 0;
		alignment = btf__align_of(btf, id);
		say("%u %lld %d\n", id, size, alignment > 0 ? alignment : -(errno ? errno : EINVAL));
	}
	return put_text(0);
}

int find_command(int count, char **args, struct btf *base)
{
	struct btf *btf = use(args[0], base);
	char *line = NULL;
	size_t room = 0;
	ssize_t length;

	(void)count;
	if (!btf)
		return put_text(errno);
	if (batch)
		return put_text(EOPNOTSUPP);
	while ((length = getline(&line, &room, stdin)) > 0) {
		char *name = NULL;
		unsigned long kind = strtoul(line, &name, 10);

		if (line[length - 1] == '\n')
			line[length - 1] = 0;
		if (*name == ' ')
			name++;
		printf("%d\n", kind ? btf__find_by_name_kind(btf, name, kind) : btf__find_by_name(btf, name));
	}
	free(line);
	return 0;
}
