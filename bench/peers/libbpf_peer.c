// The C library as a judge and as a peer: what libbpf makes of an object, as JSON on standard output.
//
//   libbpf_peer open OBJECT [OPTION...]     programs and maps after opening, without loading
//   libbpf_peer insns OBJECT [OPTION...]    loads it: every bpf(2) call, final instructions, the kernel's view
//   libbpf_peer run OBJECT PROGRAM [OPTION...]  loads it, runs a program once with PROG_TEST_RUN, then shows the data maps
//   libbpf_peer bench open|load|own|rest|gen OBJECT... N [--btf FILE]...  nanoseconds of N openings (loadings) from memory, in
//                                           this process, of each object with each BTF; of "own" without those inside bpf(2),
//                                           whether the kernel takes the object or not; of "rest" without those in which the
//                                           kernel loads programs, which stand apart; "gen" makes a loader instead
//
//   --name NAME      object name, for the names of its data maps     --btf FILE     BTF for CO-RE instead of the kernel's
//   --only PROGRAM   turns off all other programs                    --kconfig TEXT values for .kconfig externs
//   --pin-root DIR   where maps pinned by name go                    --relaxed      unknown map attributes are ignored
//   --data HEX       packet for run                                  --context HEX  context for run
//
// Exit status: 0, 1 when libbpf failed (the document then has "error", with libbpf's log), 2 for wrong usage.

#define _GNU_SOURCE
#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "json.h"
#include "record.h"
#include "timing.h"

static struct bpf_object *object;

static char *log_text;
static size_t log_size;

static int append_to_log(enum libbpf_print_level level, const char *format, va_list list)
{
	va_list again;
	int length;

	if (level == LIBBPF_DEBUG)
		return 0;
	va_copy(again, list);
	length = vsnprintf(NULL, 0, format, again);
	va_end(again);
	log_text = realloc(log_text, log_size + length + 1);
	if (!log_text)
		abort();
	vsnprintf(log_text + log_size, length + 1, format, list);
	log_size += length;
	return length;
}

// Also for the numbers that only libbpf and the inside of the kernel use.
static const char *error_name(int error)
{
	static const char *const own[] = {
		"LIBELF", "FORMAT", "KVERSION", "ENDIAN", "INTERNAL", "RELOC", "LOAD", "VERIFY", "PROG2BIG", "KVER",
		"PROGTYPE", "WRNGPID", "INVSEQ", "NLPARSE",
	};

	if (error >= __LIBBPF_ERRNO__START && error < __LIBBPF_ERRNO__END)
		return own[error - __LIBBPF_ERRNO__START];
	return error == 524 ? "ENOTSUPP" : strerrorname_np(error);
}

static void put_error(const char *stage, int error)
{
	key("error");
	begin('{');
	put_string("stage", stage);
	put_number("errno", error);
	put_string("name", error_name(error));
	put_string("log", log_text ? log_text : "");
	end('}');
}

static void put_program(const struct bpf_program *program)
{
	put_string("name", bpf_program__name(program));
	put_string("section", bpf_program__section_name(program));
	put_number("type", bpf_program__type(program));
	put_number("expected_attach_type", bpf_program__expected_attach_type(program));
	put_boolean("autoload", bpf_program__autoload(program));
	put_number("insn_cnt", bpf_program__insn_cnt(program));
	put_hex("insns", bpf_program__insns(program), bpf_program__insn_cnt(program) * sizeof(struct bpf_insn));
}

static void put_map(const struct bpf_map *map)
{
	size_t size = 0;
	const void *initial = bpf_map__initial_value((struct bpf_map *)map, &size);

	put_string("name", bpf_map__name(map));
	put_boolean("internal", bpf_map__is_internal(map));
	put_number("type", bpf_map__type(map));
	put_number("key_size", bpf_map__key_size(map));
	put_number("value_size", bpf_map__value_size(map));
	put_number("max_entries", bpf_map__max_entries(map));
	put_number("map_flags", bpf_map__map_flags(map));
	put_number("numa_node", bpf_map__numa_node(map));
	put_u64("map_extra", bpf_map__map_extra(map));
	put_string("pin_path", bpf_map__pin_path(map));
	put_number("btf_key_type_id", bpf_map__btf_key_type_id(map));
	put_number("btf_value_type_id", bpf_map__btf_value_type_id(map));
	put_boolean("autocreate", bpf_map__autocreate(map));
	put_hex("initial_value", initial, size);
}

static void put_opened(void)
{
	struct bpf_program *program;
	struct bpf_map *map;

	put_string("name", bpf_object__name(object));
	put_number("kern_version", bpf_object__kversion(object));
	key("programs");
	begin('[');
	bpf_object__for_each_program(program, object) {
		begin('{');
		put_program(program);
		end('}');
	}
	end(']');
	key("maps");
	begin('[');
	bpf_object__for_each_map(map, object) {
		begin('{');
		put_map(map);
		end('}');
	}
	end(']');
}

// What only procfs tells of a descriptor: a number behind a word at the start of a line, or -1.
static long procfs_number(int fd, const char *word)
{
	char path[64], line[256];
	long number = -1;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	file = fopen(path, "r");
	while (file && fgets(line, sizeof(line), file))
		if (!strncmp(line, word, strlen(word)) && line[strlen(word)] == ':')
			number = strtol(line + strlen(word) + 1, NULL, 0);
	if (file)
		fclose(file);
	return number;
}

static void put_map_info(int fd)
{
	struct bpf_map_info info = {};
	__u32 size = sizeof(info);

	put_number("fd", fd);
	// Of a map that was not created, libbpf 1.5 has a descriptor of something else.
	if (!bpf_obj_get_info_by_fd(fd, &info, &size)) {
		key("kernel");
		begin('{');
		put_string("name", info.name);
		put_number("type", info.type);
		put_number("key_size", info.key_size);
		put_number("value_size", info.value_size);
		put_number("max_entries", info.max_entries);
		put_number("map_flags", info.map_flags);
		put_u64("map_extra", info.map_extra);
		put_number("ifindex", info.ifindex);
		put_boolean("has_btf", info.btf_id != 0);
		put_number("btf_key_type_id", info.btf_key_type_id);
		put_number("btf_value_type_id", info.btf_value_type_id);
		put_number("btf_vmlinux_value_type_id", info.btf_vmlinux_value_type_id);
		put_boolean("frozen", procfs_number(fd, "frozen") == 1);
		put_number("owner_prog_type", procfs_number(fd, "owner_prog_type"));
		end('}');
	}
}

static void put_map_names(const __u32 *ids, __u32 count)
{
	key("maps");
	begin('[');
	for (__u32 i = 0; i < count; i++) {
		struct bpf_map_info info = {};
		__u32 size = sizeof(info);
		int fd = bpf_map_get_fd_by_id(ids[i]);

		put_element(fd >= 0 && !bpf_obj_get_info_by_fd(fd, &info, &size) ? info.name : NULL);
		if (fd >= 0)
			close(fd);
	}
	end(']');
}

static void *room(size_t size)
{
	void *memory = calloc(1, size + 1);

	if (!memory)
		abort();
	return memory;
}

static void put_program_info(int fd)
{
	struct bpf_prog_info sizes = {}, info = {};
	__u32 size = sizeof(sizes);

	key("kernel");
	begin('{');
	if (!bpf_obj_get_info_by_fd(fd, &sizes, &size)) {
		__u32 *maps = room(sizes.nr_map_ids * sizeof(*maps));
		void *functions = room((size_t)sizes.nr_func_info * sizes.func_info_rec_size);
		void *lines = room((size_t)sizes.nr_line_info * sizes.line_info_rec_size);

		info.nr_map_ids = sizes.nr_map_ids;
		info.map_ids = (unsigned long)maps;
		info.nr_func_info = sizes.nr_func_info;
		info.func_info_rec_size = sizes.func_info_rec_size;
		info.func_info = (unsigned long)functions;
		info.nr_line_info = sizes.nr_line_info;
		info.line_info_rec_size = sizes.line_info_rec_size;
		info.line_info = (unsigned long)lines;
		size = sizeof(info);
		if (!bpf_obj_get_info_by_fd(fd, &info, &size)) {
			put_string("name", info.name);
			put_number("type", info.type);
			put_hex("tag", info.tag, sizeof(info.tag));
			put_boolean("gpl_compatible", info.gpl_compatible);
			put_number("xlated_prog_len", info.xlated_prog_len);
			put_map_names(maps, info.nr_map_ids);
			put_boolean("has_btf", info.btf_id != 0);
			put_number("attach_btf_id", info.attach_btf_id);
			put_number("ifindex", info.ifindex);
			put_number("verified_insns", info.verified_insns);
			put_number("nr_func_info", info.nr_func_info);
			put_hex("func_info", functions, (size_t)info.nr_func_info * info.func_info_rec_size);
			put_number("nr_line_info", info.nr_line_info);
			put_hex("line_info", lines, (size_t)info.nr_line_info * info.line_info_rec_size);
		}
		free(maps);
		free(functions);
		free(lines);
	}
	end('}');
}

static void put_loaded(void)
{
	struct bpf_program *program;
	struct bpf_map *map;

	key("programs");
	begin('[');
	bpf_object__for_each_program(program, object) {
		begin('{');
		put_program(program);
		if (bpf_program__fd(program) >= 0)
			put_program_info(bpf_program__fd(program));
		end('}');
	}
	end(']');
	key("maps");
	begin('[');
	bpf_object__for_each_map(map, object) {
		begin('{');
		put_map(map);
		if (bpf_map__fd(map) >= 0)
			put_map_info(bpf_map__fd(map));
		end('}');
	}
	end(']');
}

static int open_command(const char *path, const struct bpf_object_open_opts *options)
{
	begin('{');
	object = bpf_object__open_file(path, options);
	if (!object)
		put_error("open", errno);
	else
		put_opened();
	end('}');
	putchar('\n');
	return object ? 0 : 1;
}

static int insns_command(const char *path, const struct bpf_object_open_opts *options, const char *only)
{
	struct bpf_program *program;
	int error = 0;

	begin('{');
	object = bpf_object__open_file(path, options);
	if (!object) {
		error = errno;
		put_error("open", error);
	} else {
		if (only)
			bpf_object__for_each_program(program, object)
				bpf_program__set_autoload(program, !strcmp(bpf_program__name(program), only));
		key("calls");
		begin('[');
		record_begin(object);
		error = -bpf_object__load(object);
		record_end();
		end(']');
		if (error)
			put_error("load", error);
		else
			put_loaded();
	}
	end('}');
	putchar('\n');
	return error ? 1 : 0;
}

// ---- Test runs -------------------------------------------------------------------------------------------------------

static void *from_hex(const char *text, __u32 *size)
{
	unsigned char *bytes = room(strlen(text) / 2);

	for (*size = 0; text[0] && text[1]; text += 2) {
		unsigned int byte;

		if (sscanf(text, "%2x", &byte) != 1)
			break;
		bytes[(*size)++] = byte;
	}
	return bytes;
}

static void put_data_maps(void)
{
	struct bpf_map *map;

	key("data_maps");
	begin('[');
	bpf_object__for_each_map(map, object) {
		size_t size = bpf_map__value_size(map);
		void *value = room(size);
		__u32 zero = 0;

		if (bpf_map__is_internal(map) && !bpf_map_lookup_elem(bpf_map__fd(map), &zero, value)) {
			begin('{');
			put_string("name", bpf_map__name(map));
			put_hex("value", value, size);
			end('}');
		}
		free(value);
	}
	end(']');
}

static int run_program(const char *name, const char *data, const char *context)
{
	// A packet may grow by what the kernel gives it as headroom and tailroom.
	const size_t growth = 4096;
	const struct bpf_program *program = bpf_object__find_program_by_name(object, name);
	LIBBPF_OPTS(bpf_test_run_opts, run);
	__u32 size;

	if (!program)
		return ENOENT;
	if (data) {
		run.data_in = from_hex(data, &size);
		run.data_size_in = size;
		run.data_out = room(size + growth);
		run.data_size_out = size + growth;
		run.repeat = 1;
	}
	if (context) {
		run.ctx_in = from_hex(context, &size);
		run.ctx_size_in = size;
		if (bpf_program__type(program) != BPF_PROG_TYPE_RAW_TRACEPOINT) {
			// Programs of type syscall change the context where it is.
			run.ctx_out = data ? room(size) : NULL;
			run.ctx_size_out = data ? size : 0;
		}
	}
	if (bpf_prog_test_run_opts(bpf_program__fd(program), &run))
		return errno;
	put_number("retval", run.retval);
	put_hex("data", run.data_out, run.data_size_out);
	put_hex("context", run.ctx_out ? run.ctx_out : run.ctx_in, run.ctx_size_out ? run.ctx_size_out : run.ctx_size_in);
	put_data_maps();
	return 0;
}

static int run_command(const char *path, const struct bpf_object_open_opts *options, const char *program,
		       const char *data, const char *context)
{
	const char *stage = "open";
	int error = 0;

	begin('{');
	object = bpf_object__open_file(path, options);
	if (!object)
		error = errno;
	if (!error) {
		stage = "load";
		error = -bpf_object__load(object);
	}
	if (!error) {
		stage = "run";
		error = run_program(program, data, context);
	}
	if (error)
		put_error(stage, error);
	end('}');
	putchar('\n');
	return error ? 1 : 0;
}

// ---- Benchmark -------------------------------------------------------------------------------------------------------

static void *read_file(const char *path, size_t *size)
{
	FILE *file = fopen(path, "rb");
	void *bytes = NULL;

	if (!file)
		return NULL;
	if (!fseek(file, 0, SEEK_END) && (long)(*size = ftell(file)) >= 0) {
		rewind(file);
		bytes = room(*size);
		if (fread(bytes, 1, *size, file) != *size) {
			free(bytes);
			bytes = NULL;
		}
	}
	fclose(file);
	return bytes;
}

struct benched {
	const char *path;
	void *bytes;
	size_t size;
};

enum bench_kind { BENCH_OPEN, BENCH_LOAD, BENCH_OWN, BENCH_REST, BENCH_GEN };

// One repetition: the time until the object is closed again, or -1.
static double once(const struct benched *one, enum bench_kind kind, const char *btf)
{
	LIBBPF_OPTS(bpf_object_open_opts, options, .object_name = "bench", .btf_custom_path = btf);
	LIBBPF_OPTS(gen_loader_opts, generated);
	long long inside = record_inside(), loading = record_loading();
	double start = time_now(), time;
	struct bpf_object *opened = bpf_object__open_mem(one->bytes, one->size, &options);

	if (!opened)
		return -1;
	// What is generated belongs to the object, and goes with it.
	if (kind == BENCH_GEN && bpf_object__gen_loader(opened, &generated)) {
		bpf_object__close(opened);
		return -1;
	}
	if (kind != BENCH_OPEN && bpf_object__load(opened) && kind != BENCH_OWN) {
		int error = errno;

		bpf_object__close(opened);
		errno = error;
		return -1;
	}
	bpf_object__close(opened);
	time = time_now() - start;
	if (kind == BENCH_REST)
		time -= record_loading() - loading;
	return kind == BENCH_OWN ? time - (record_inside() - inside) : time;
}

static int bench_command(enum bench_kind kind, const char *what, char **paths, int count, long repetitions,
			 const char **btfs, int btf_count)
{
	long warm_up = repetitions < 5 ? repetitions : 5;
	double *times = room(repetitions * sizeof(*times)), *apart = room(repetitions * sizeof(*apart));
	struct benched *objects = room(count * sizeof(*objects));
	long long peak = 0;
	bool failed = false;

	for (int i = 0; i < count && !failed; i++) {
		objects[i].path = paths[i];
		objects[i].bytes = read_file(paths[i], &objects[i].size);
		failed = !objects[i].bytes;
	}
	if (failed)
		what = "read";
	libbpf_set_print(append_to_log);
	for (long i = -warm_up; i < repetitions && !failed; i++) {
		long long loading = record_loading();
		double total = 0;

		for (int j = 0; j < count * btf_count && !failed; j++) {
			double time = once(&objects[j % count], kind, btfs[j / count]);

			failed = time < 0;
			total += time;
			free(log_text);
			log_text = NULL;
			log_size = 0;
		}
		if (i == -warm_up) // the most memory that each object took once
			peak = peak_bytes();
		if (i >= 0) {
			times[i] = total;
			apart[i] = record_loading() - loading;
		}
	}
	begin('{');
	if (failed) {
		put_error(what, errno);
	} else {
		put_number("median_ns", median_time(times, repetitions));
		put_number("min_ns", times[0]);
		put_number("n", repetitions);
		if (kind == BENCH_REST) {
			put_number("apart_ns", median_time(apart, repetitions));
			put_number("peak_bytes", peak);
		}
	}
	end('}');
	putchar('\n');
	for (int i = 0; i < count; i++)
		free(objects[i].bytes);
	free(objects);
	free(times);
	free(apart);
	return failed ? 1 : 0;
}

static int usage(void)
{
	fputs("usage: libbpf_peer open OBJECT [--name NAME] [--btf FILE] [--kconfig TEXT] [--pin-root DIR] [--relaxed]\n"
	      "       libbpf_peer insns OBJECT [--only PROGRAM] [options of open]\n"
	      "       libbpf_peer run OBJECT PROGRAM [--data HEX] [--context HEX] [options of open]\n"
	      "       libbpf_peer bench open|load|own|rest|gen OBJECT... N [--btf FILE]...\n", stderr);
	return 2;
}

int main(int argc, char **argv)
{
	LIBBPF_OPTS(bpf_object_open_opts, options);
	const char *only = NULL, *data = NULL, *context = NULL;
	bool run;
	int status;

	if (argc >= 5 && !strcmp(argv[1], "bench")) {
		static const char *const kinds[] = { "open", "load", "own", "rest", "gen" };
		const char **btfs = room(argc * sizeof(*btfs));
		int count = 0;

		while (argc >= 7 && !strcmp(argv[argc - 2], "--btf")) {
			btfs[count++] = argv[argc - 1];
			argc -= 2;
		}
		for (int kind = BENCH_OPEN; kind <= BENCH_GEN; kind++)
			if (!strcmp(argv[2], kinds[kind]) && atol(argv[argc - 1]) > 0)
				return bench_command(kind, argv[2], argv + 3, argc - 4, atol(argv[argc - 1]), btfs,
						     count ? count : 1);
		return usage();
	}
	run = argc >= 4 && !strcmp(argv[1], "run");
	if (argc < 3 || (strcmp(argv[1], "open") && strcmp(argv[1], "insns") && !run))
		return usage();
	for (int i = run ? 4 : 3; i < argc; i++) {
		const struct {
			const char *name;
			const char **value;
		} known[] = {
			{ "--name", &options.object_name },
			{ "--btf", &options.btf_custom_path },
			{ "--kconfig", &options.kconfig },
			{ "--pin-root", &options.pin_root_path },
			{ "--only", &only },
			{ "--data", &data },
			{ "--context", &context },
		};
		const char **value = NULL;

		for (size_t j = 0; j < sizeof(known) / sizeof(known[0]); j++)
			if (!strcmp(argv[i], known[j].name))
				value = known[j].value;
		if (!strcmp(argv[i], "--relaxed"))
			options.relaxed_maps = true;
		else if (value && i + 1 < argc)
			*value = argv[++i];
		else
			return usage();
	}

	libbpf_set_print(append_to_log);
	if (run)
		status = run_command(argv[2], &options, argv[3], data, context);
	else if (!strcmp(argv[1], "open"))
		status = open_command(argv[2], &options);
	else
		status = insns_command(argv[2], &options, only);
	bpf_object__close(object);
	return status;
}
