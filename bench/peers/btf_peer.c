// The C library as a judge and as a peer of BTF: what libbpf makes of blobs, through its public API alone.
//
// A FILE is a raw blob, an ELF file with .BTF, or hex:DIGITS; an OUT is a path, or - for hexadecimal digits in the answer.
// Every command takes --base FILE for split BTF at its end. An answer is one line of JSON; a blob in it, "result" or
// what the command's line calls it, has its number of types, those of the base and void included, and its bytes.
//
//   raw FILE OUT [little|big]                parsed and written again, in this byte order
//   append FILE OTHER OUT                    FILE with the types of OTHER appended
//   dedup FILE OUT [OUT_EXT]                 deduplicated; OUT_EXT gets the rewritten .BTF.ext of an ELF file
//   dedup-twice FILE OUT                     appended to itself, then deduplicated
//   distill SPLIT BASE OUT_BASE OUT_SPLIT    (libbpf 1.5) the distilled base, and the blob split over it
//   relocate SPLIT BASE NEW_BASE OUT         (libbpf 1.5) moved from BASE, a distilled one, onto NEW_BASE
//   redistill SPLIT BASE NEW_BASE OUT        (libbpf 1.5) distilled from BASE, and relocated onto NEW_BASE
//   decl FILE TYPE_ID [OPTION...]            "text" of a declaration; options: name=TEXT, indent_level=N, strip_mods
//   dumpc FILE [TYPE_ID...]                  C of all types, or of these and what they need (plain text, no JSON)
//   find FILE                                for each line "KIND NAME" of standard input, KIND a number and 0 for any, a
//                                            line with the id or the negative errno (plain text, no JSON)
//   layout FILE                              a line "ID SIZE ALIGNMENT" for each own type, negative errno where there is
//                                            none (plain text, no JSON)
//   version                                  version of libbpf's headers and of the library
//   batch [SECONDS]                          a command of the above in each line of standard input, fields divided by
//                                            tabs; for each a line with its answer, "text" in JSON for plain text. A
//                                            command that takes longer than SECONDS (60) ends the process by SIGALRM.
//   bench parse FILE N                       nanoseconds of N times btf__new from memory; "heap_bytes" it takes
//   bench find FILE NAME KIND N              btf__find_by_name_kind
//   bench dedup FILE N                       btf__dedup of FILE appended to itself; only dedup is timed
//   bench append FILE N                      btf__add_btf of FILE to itself
//   bench dump FILE N                        C of all types into nothing
//
// Values as text are btf_data.c's part.
//
// Exit status: 0, 1 when libbpf failed ("error" has errno, name, and libbpf's log), 2 for wrong usage.

#define _GNU_SOURCE
#include <errno.h>
#include <malloc.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <bpf/btf.h>
#include <bpf/libbpf.h>

#include "json.h"

#define AT_LEAST(minor) (LIBBPF_MAJOR_VERSION > 1 || LIBBPF_MINOR_VERSION >= (minor))

#if AT_LEAST(5)
#define ext_raw_data btf_ext__raw_data
#else
#define ext_raw_data btf_ext__get_raw_data
#endif

static bool batch;

// ---- Texts that grow -------------------------------------------------------------------------------------------------

struct text {
	char *bytes;
	size_t size, room;
};

static struct text log_text, dumped;

static void *must(void *memory)
{
	if (!memory) {
		fputs("btf_peer: no memory\n", stderr);
		exit(2);
	}
	return memory;
}

static void append(struct text *text, const char *format, va_list list)
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

static void clear(struct text *text)
{
	text->size = 0;
	if (text->bytes)
		*text->bytes = 0;
}

static int log_line(enum libbpf_print_level level, const char *format, va_list list)
{
	if (level != LIBBPF_DEBUG)
		append(&log_text, format, list);
	return 0;
}

static void into_text(void *context, const char *format, va_list list)
{
	append(context, format, list);
}

static void into_nothing(void *context, const char *format, va_list list)
{
	(void)context, (void)format, (void)list;
}

// ---- Answers ---------------------------------------------------------------------------------------------------------

static void put_error(int error)
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
static int failed_with(int error)
{
	begin('{');
	put_error(error);
	end('}');
	return 1;
}

static int write_out(const char *name, const char *path, const void *bytes, size_t size)
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
static int put_blob(const char *name, const char *path, const struct btf *btf)
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

static int put_result(const char *path, const struct btf *btf)
{
	int error;

	begin('{');
	error = put_blob("result", path, btf);
	if (error)
		put_error(error);
	end('}');
	return error ? 1 : 0;
}

// ---- Blobs -----------------------------------------------------------------------------------------------------------

static void *from_hex(const char *digits, size_t *size)
{
	size_t length = strlen(digits) / 2;
	unsigned char *bytes = must(malloc(length + 1));

	for (size_t i = 0; i < length; i++) {
		unsigned int byte;

		if (sscanf(digits + 2 * i, "%2x", &byte) != 1)
			break;
		bytes[i] = byte;
	}
	*size = length;
	return bytes;
}

// libbpf before 1.4 splits no blob in memory over a base, but that of a file.
static struct btf *split_from_memory(const void *bytes, size_t size, struct btf *base)
{
	int fd = memfd_create("blob", MFD_CLOEXEC);
	struct btf *btf = NULL;
	char path[32];
	int error;

	if (fd < 0)
		return NULL;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (write(fd, bytes, size) == (ssize_t)size)
		btf = btf__parse_raw_split(path, base);
	error = errno;
	close(fd);
	errno = error;
	return btf;
}

// A blob of the caller's own; NULL with errno set.
static struct btf *load(const char *file, struct btf *base, struct btf_ext **ext)
{
	struct btf *btf;
	size_t size;
	void *bytes;
	int error;

	if (strncmp(file, "hex:", 4))
		return base ? btf__parse_split(file, base) : btf__parse(file, ext);
	bytes = from_hex(file + 4, &size);
	btf = base ? split_from_memory(bytes, size, base) : btf__new(bytes, size);
	error = errno;
	free(bytes);
	errno = error;
	return btf;
}

// Blobs that commands only read are parsed once, in a batch too: a kernel is the base of a thousand modules.
static struct held {
	char *file;
	struct btf *base, *btf;
	struct timespec changed;
} held[16];

static size_t held_count;

// From the newest to the oldest, since a base is older than what is split over it.
static void forget(void)
{
	while (held_count > 0) {
		struct held *one = &held[--held_count];

		btf__free(one->btf);
		free(one->file);
	}
}

// A blob that is only read; NULL with errno set.
static struct btf *use(const char *file, struct btf *base)
{
	struct stat status = {};
	struct btf *btf;

	if (strncmp(file, "hex:", 4) && stat(file, &status))
		return NULL;
	for (size_t i = 0; i < held_count; i++) {
		struct held *one = &held[i];

		if (!strcmp(one->file, file) && one->base == base &&
		    !memcmp(&one->changed, &status.st_mtim, sizeof(status.st_mtim)))
			return one->btf;
	}
	// Room was made before the command, and no command holds more than three.
	btf = load(file, base, NULL);
	if (!btf)
		return NULL;
	held[held_count++] = (struct held){ must(strdup(file)), base, btf, status.st_mtim };
	return btf;
}

// ---- Commands that make a blob ---------------------------------------------------------------------------------------

static int raw_command(int count, char **args, struct btf *base)
{
	struct btf *btf = load(args[0], base, NULL);
	int status;

	if (!btf)
		return failed_with(errno);
	if (count == 3)
		btf__set_endianness(btf, strcmp(args[2], "big") ? BTF_LITTLE_ENDIAN : BTF_BIG_ENDIAN);
	status = put_result(args[1], btf);
	btf__free(btf);
	return status;
}

static int append_command(int count, char **args, struct btf *base)
{
	struct btf *btf = load(args[0], base, NULL), *other = btf ? use(args[1], base) : NULL;
	int status, error = other ? 0 : errno;

	(void)count;
	if (other && btf__add_btf(btf, other) < 0)
		error = errno;
	status = error ? failed_with(error) : put_result(args[2], btf);
	btf__free(btf);
	return status;
}

static int dedup_command(int count, char **args, struct btf *base)
{
	LIBBPF_OPTS(btf_dedup_opts, options);
	struct btf_ext *ext = NULL;
	struct btf *btf = load(args[0], base, count == 3 ? &ext : NULL);
	int error = btf ? 0 : errno;

	if (!error && count == 3 && !ext)
		error = ENOENT;
	options.btf_ext = ext;
	if (!error)
		error = -btf__dedup(btf, &options);
	begin('{');
	if (!error)
		error = put_blob("result", args[1], btf);
	if (!error && ext) {
		__u32 size = 0;
		const void *bytes = ext_raw_data(ext, &size);

		error = write_out("ext_hex", args[2], bytes, size);
	}
	if (error)
		put_error(error);
	end('}');
	btf_ext__free(ext);
	btf__free(btf);
	return error ? 1 : 0;
}

static int dedup_twice_command(int count, char **args, struct btf *base)
{
	struct btf *btf = load(args[0], base, NULL), *other = btf ? use(args[0], base) : NULL;
	int status, error = other ? 0 : errno;

	(void)count;
	if (!error && btf__add_btf(btf, other) < 0)
		error = errno;
	if (!error)
		error = -btf__dedup(btf, NULL);
	status = error ? failed_with(error) : put_result(args[1], btf);
	btf__free(btf);
	return status;
}

#if AT_LEAST(5)
static int distill_command(int count, char **args, struct btf *base)
{
	struct btf *old = use(args[1], base), *split = old ? use(args[0], old) : NULL;
	struct btf *new_base = NULL, *new_split = NULL;
	int error = split ? 0 : errno;

	(void)count;
	if (!error)
		error = -btf__distill_base(split, &new_base, &new_split);
	begin('{');
	if (!error)
		error = put_blob("base", args[2], new_base);
	if (!error)
		error = put_blob("split", args[3], new_split);
	if (error)
		put_error(error);
	end('}');
	btf__free(new_split);
	btf__free(new_base);
	return error ? 1 : 0;
}

static int relocate_command(int count, char **args, struct btf *base)
{
	struct btf *old = use(args[1], base), *new_base = old ? use(args[2], base) : NULL;
	struct btf *split = new_base ? load(args[0], old, NULL) : NULL;
	int status, error = split ? 0 : errno;

	(void)count;
	if (!error)
		error = -btf__relocate(split, new_base);
	status = error ? failed_with(error) : put_result(args[3], split);
	btf__free(split);
	return status;
}

static int redistill_command(int count, char **args, struct btf *base)
{
	struct btf *old = use(args[1], base), *new_base = old ? use(args[2], base) : NULL;
	struct btf *split = new_base ? load(args[0], old, NULL) : NULL;
	struct btf *distilled = NULL, *moved = NULL;
	int status, error = split ? 0 : errno;

	(void)count;
	if (!error)
		error = -btf__distill_base(split, &distilled, &moved);
	if (!error)
		error = -btf__relocate(moved, new_base);
	status = error ? failed_with(error) : put_result(args[3], moved);
	btf__free(moved);
	btf__free(distilled);
	btf__free(split);
	return status;
}
#else
static int needs_newer(int count, char **args, struct btf *base)
{
	(void)count, (void)args, (void)base;
	return failed_with(EOPNOTSUPP);
}
#define distill_command needs_newer
#define relocate_command needs_newer
#define redistill_command needs_newer
#endif

// ---- Commands that make text -----------------------------------------------------------------------------------------

static const char *value_of(const char *option, const char *name)
{
	size_t length = strlen(name);

	return strncmp(option, name, length) || option[length] != '=' ? NULL : option + length + 1;
}

static int decl_command(int count, char **args, struct btf *base)
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

static int dumpc_command(int count, char **args, struct btf *base)
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

static int layout_command(int count, char **args, struct btf *base)
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

static int find_command(int count, char **args, struct btf *base)
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

static int version_command(int count, char **args, struct btf *base)
{
	char text[32];

	(void)count, (void)args, (void)base;
	snprintf(text, sizeof(text), "%d.%d", LIBBPF_MAJOR_VERSION, LIBBPF_MINOR_VERSION);
	begin('{');
	put_string("headers", text);
	put_string("library", libbpf_version_string());
	end('}');
	return 0;
}

// ---- Benchmark -------------------------------------------------------------------------------------------------------

static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * 1e9 + time.tv_nsec;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

struct work {
	const void *bytes;
	__u32 size;
	struct btf *btf;
	const char *name;
	__u32 kind;
	size_t heap;
};

// Each does its work once and gives the nanoseconds of the timed part; negative on failure.

static double parse_once(struct work *work)
{
	struct mallinfo2 before = mallinfo2();
	double time = now();
	struct btf *btf = btf__new(work->bytes, work->size);
	struct mallinfo2 after;

	if (!btf)
		return -1;
	time = now() - time;
	after = mallinfo2();
	work->heap = after.uordblks + after.hblkhd - before.uordblks - before.hblkhd;
	btf__free(btf);
	return time;
}

static double find_once(struct work *work)
{
	// Many at once, so that the clock is not what is measured: about 50 microseconds or more.
	static int calls;
	double time, start = now();

	while (calls == 0 || now() - start < (calls < 0 ? 50e3 : 0)) {
		btf__find_by_name_kind(work->btf, work->name, work->kind);
		calls--;
	}
	if (calls < 0)
		calls = -calls;
	time = now();
	for (int i = 0; i < calls; i++)
		btf__find_by_name_kind(work->btf, work->name, work->kind);
	return (now() - time) / calls;
}

static double append_once(struct work *work)
{
	struct btf *btf = btf__new(work->bytes, work->size);
	double time;
	int error;

	if (!btf)
		return -1;
	time = now();
	error = btf__add_btf(btf, work->btf);
	time = now() - time;
	btf__free(btf);
	return error < 0 ? -1 : time;
}

static double dedup_once(struct work *work)
{
	struct btf *btf = btf__new(work->bytes, work->size);
	double time = -1;

	if (btf && btf__add_btf(btf, work->btf) >= 0) {
		time = now();
		time = btf__dedup(btf, NULL) ? -1 : now() - time;
	}
	btf__free(btf);
	return time;
}

static double dump_once(struct work *work)
{
	double time = now();
	struct btf_dump *dump = btf_dump__new(work->btf, into_nothing, NULL, NULL);
	int error = dump ? 0 : errno;

	for (__u32 id = 1; id < btf__type_cnt(work->btf) && !error; id++)
		error = btf_dump__dump_type(dump, id);
	btf_dump__free(dump);
	return error ? -1 : now() - time;
}

static int bench_command(int count, char **args, struct btf *base)
{
	const struct {
		const char *name;
		double (*once)(struct work *);
		int count;
	} works[] = {
		{ "parse", parse_once, 3 },
		{ "find", find_once, 5 },
		{ "append", append_once, 3 },
		{ "dedup", dedup_once, 3 },
		{ "dump", dump_once, 3 },
	};
	struct work work = {};
	long repetitions = strtol(args[count - 1], NULL, 10), warm_up = repetitions < 3 ? repetitions : 3;
	double *times, time = 0;

	work.btf = use(args[1], base);
	work.bytes = work.btf ? btf__raw_data(work.btf, &work.size) : NULL;
	if (!work.bytes)
		return failed_with(errno);
	if (count == 5) {
		work.name = args[2];
		work.kind = strtoul(args[3], NULL, 10);
	}
	for (size_t which = 0; which < sizeof(works) / sizeof(works[0]); which++) {
		if (strcmp(args[0], works[which].name) || count != works[which].count || repetitions < 1)
			continue;
		times = must(calloc(repetitions, sizeof(*times)));
		for (long i = -warm_up; i < repetitions && time >= 0; i++) {
			time = works[which].once(&work);
			if (i >= 0)
				times[i] = time;
		}
		if (time < 0)
			return failed_with(errno ? errno : EINVAL);
		qsort(times, repetitions, sizeof(*times), by_value);
		printf("{\"median_ns\":%.1f,\"min_ns\":%.1f,\"n\":%ld", times[repetitions / 2], times[0], repetitions);
		if (work.heap)
			printf(",\"heap_bytes\":%zu", work.heap);
		printf("}");
		free(times);
		return 0;
	}
	return failed_with(EINVAL);
}

// ---- Command line ----------------------------------------------------------------------------------------------------

static const struct command {
	const char *name;
	int fewest, most; // arguments
	int (*run)(int count, char **args, struct btf *base);
} commands[] = {
	{ "raw", 2, 3, raw_command },
	{ "append", 3, 3, append_command },
	{ "dedup", 2, 3, dedup_command },
	{ "dedup-twice", 2, 2, dedup_twice_command },
	{ "distill", 4, 4, distill_command },
	{ "relocate", 4, 4, relocate_command },
	{ "redistill", 4, 4, redistill_command },
	{ "decl", 2, 5, decl_command },
	{ "dumpc", 1, 1 << 20, dumpc_command },
	{ "find", 1, 1, find_command },
	{ "layout", 1, 1, layout_command },
	{ "version", 0, 0, version_command },
	{ "bench", 3, 5, bench_command },
};

// args[0] names the command; 2 for one that does not exist.
static int run_command(int count, char **args)
{
	struct btf *base = NULL;

	clear(&log_text);
	if (held_count > 12)
		forget();
	if (count >= 3 && !strcmp(args[count - 2], "--base")) {
		base = use(args[count - 1], NULL);
		if (!base)
			return failed_with(errno);
		count -= 2;
	}
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		const struct command *command = &commands[i];

		if (!strcmp(args[0], command->name) && count - 1 >= command->fewest && count - 1 <= command->most)
			return command->run(count - 1, args + 1, base);
	}
	return 2;
}

static int run_batch(unsigned int seconds)
{
	char *line = NULL, **args = NULL;
	size_t room = 0;
	ssize_t length;

	batch = true;
	while ((length = getline(&line, &room, stdin)) > 0) {
		int count = 0, status;

		if (line[length - 1] == '\n')
			line[length - 1] = 0;
		args = must(realloc(args, (strlen(line) + 2) * sizeof(*args)));
		for (char *rest = line; rest;)
			args[count++] = strsep(&rest, "\t");
		alarm(seconds);
		status = run_command(count, args);
		alarm(0);
		if (status == 2) {
			fprintf(stderr, "btf_peer: wrong usage of %s\n", args[0]);
			return 2;
		}
		end_document();
	}
	free(args);
	free(line);
	return 0;
}

int main(int argc, char **argv)
{
	int status = 2;

	libbpf_set_print(log_line);
	if (argc >= 2 && argc <= 3 && !strcmp(argv[1], "batch"))
		status = run_batch(argc == 3 ? strtoul(argv[2], NULL, 10) : 60);
	else if (argc >= 2)
		status = run_command(argc - 1, argv + 1);
	if (status == 2)
		fputs("usage: see the head of bench/peers/btf_peer.c\n", stderr);
	forget();
	return status;
}
