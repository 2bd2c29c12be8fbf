// What becomes of objects that libbpf loads: one line of JSON for each, on standard output.
//
//   load_peer PIN_ROOT [SECONDS]
//
// Reads paths of objects from standard input, one a line; a path may be followed by a tab and the name of the only
// program to load. Each is opened, loaded and closed before the next is read. Maps pinned by name go to PIN_ROOT, whose
// pins are removed with it after each object. One that takes longer than SECONDS (60), or on which libbpf crashes, ends
// the process by a signal: then lines are missing.
//
//   stage     what failed: "open", "prepare" (all before the first program is loaded), "load", or "loaded"
//   errno     the error's number, 0 for none     name      the number's name, null for none
//   kind      what the warning that tells of the failure is about: "program", "map", "extern", "struct_ops" or null
//   subject   its name, or null
//   programs  how many programs the kernel took  maps      how many maps it made, templates of inner ones included
//   log       all warnings of libbpf
//
// Exit status: 0, 2 for wrong usage.

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <dirent.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "json.h"

// ---- What libbpf says ------------------------------------------------------------------------------------------------

static struct {
	char *text;
	size_t size;
	const char *kind; // of the last warning that is about something
	char subject[256];
	bool program_failed, slot_failed; // the warnings that only the loading of programs, and what follows it, gives
} said;

static void forget(void)
{
	free(said.text);
	memset(&said, 0, sizeof(said));
}

// Warnings are told apart by their format, whose first string is the name.
static const struct {
	const char *format, *kind;
} subjects[] = {
	{ "libbpf: prog '%s': ", "program" },
	{ "libbpf: map '%s': ", "map" },
	{ "libbpf: extern (kcfg) '%s': ", "extern" },
	{ "libbpf: extern (ksym) '%s': ", "extern" },
	{ "libbpf: extern (var ksym) '%s': ", "extern" },
	{ "libbpf: extern (func ksym) '%s': ", "extern" },
	{ "libbpf: extern '%s' ", "extern" },
	{ "libbpf: struct_ops init_kern %s", "struct_ops" },
	{ "libbpf: struct_ops init_kern: struct %s ", "struct_ops" },
};

static bool starts(const char *text, const char *with)
{
	return !strncmp(text, with, strlen(with));
}

static int listen(enum libbpf_print_level level, const char *format, va_list list)
{
	va_list again;
	int length;

	if (level == LIBBPF_DEBUG)
		return 0;
	va_copy(again, list);
	length = vsnprintf(NULL, 0, format, again);
	va_end(again);
	said.text = realloc(said.text, said.size + length + 1);
	if (!said.text)
		abort();
	va_copy(again, list);
	vsnprintf(said.text + said.size, length + 1, format, again);
	va_end(again);
	said.size += length;
	for (size_t i = 0; level == LIBBPF_WARN && i < sizeof(subjects) / sizeof(subjects[0]); i++) {
		if (!starts(format, subjects[i].format))
			continue;
		said.kind = subjects[i].kind;
		va_copy(again, list);
		snprintf(said.subject, sizeof(said.subject), "%s", va_arg(again, const char *));
		va_end(again);
		break;
	}
	if (starts(format, "libbpf: prog '%s': failed to load: "))
		said.program_failed = true;
	if (starts(format, "libbpf: map '%s': failed to initialize slot [%d] to prog "))
		said.slot_failed = true;
	return length;
}

// ---- What the kernel takes -------------------------------------------------------------------------------------------

static struct bpf_object *loading;
static int programs, maps;

static bool is_own_program(const char *name)
{
	struct bpf_program *program;

	bpf_object__for_each_program(program, loading)
		if (!strncmp(bpf_program__name(program), name, BPF_OBJ_NAME_LEN - 1))
			return true;
	return false;
}

// In place of the C library's: libbpf's calls come here. Which are probes is told as record.h says.
long syscall(long number, ...)
{
	static long (*real)(long, ...);
	long argument[6], result;
	va_list list;
	int error;

	if (!real)
		real = dlsym(RTLD_NEXT, "syscall");
	va_start(list, number);
	for (int i = 0; i < 6; i++)
		argument[i] = va_arg(list, long);
	va_end(list);
	result = real(number, argument[0], argument[1], argument[2], argument[3], argument[4], argument[5]);
	error = errno;
	if (loading && number == __NR_bpf && result >= 0) {
		const union bpf_attr *attr = (const void *)argument[1];

		if (argument[0] == BPF_PROG_LOAD)
			programs += is_own_program(attr->prog_name);
		else if (argument[0] == BPF_MAP_CREATE)
			maps += attr->map_name[0] && !starts(attr->map_name, "libbpf_");
	}
	errno = error;
	return result;
}

// ---- One object ------------------------------------------------------------------------------------------------------

// For the numbers, too, that only libbpf and the inside of the kernel use.
static const char *error_name(int error)
{
	static const char *const own[] = {
		"LIBELF", "FORMAT", "KVERSION", "ENDIAN", "INTERNAL", "RELOC", "LOAD", "VERIFY", "PROG2BIG", "KVER",
		"PROGTYPE", "WRNGPID", "INVSEQ", "NLPARSE",
	};

	if (error >= __LIBBPF_ERRNO__START && error < __LIBBPF_ERRNO__END)
		return own[error - __LIBBPF_ERRNO__START];
	return error == 524 ? "ENOTSUPP" : error == 0 ? NULL : strerrorname_np(error);
}

static void remove_pins(const char *folder)
{
	DIR *entries = opendir(folder);
	char path[4096];

	for (struct dirent *entry; entries && (entry = readdir(entries));)
		if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, "..")) {
			snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
			unlink(path);
		}
	if (entries) {
		closedir(entries);
		rmdir(folder);
	}
}

static void outcome(const char *path, const char *only, const char *pin_root)
{
	LIBBPF_OPTS(bpf_object_open_opts, options, .pin_root_path = pin_root);
	struct bpf_object *object = bpf_object__open_file(path, &options);
	const char *stage = "loaded";
	int error = 0;

	programs = maps = 0;
	if (!object) {
		error = errno;
		stage = "open";
	} else {
		struct bpf_program *program;

		if (only)
			bpf_object__for_each_program(program, object)
				bpf_program__set_autoload(program, !strcmp(bpf_program__name(program), only));
		loading = object;
		error = -bpf_object__load(object);
		loading = NULL;
		if (error)
			stage = said.program_failed || said.slot_failed ? "load" : "prepare";
	}
	begin('{');
	put_string("stage", stage);
	put_number("errno", error);
	put_string("name", error_name(error));
	put_string("kind", error ? said.kind : NULL);
	put_string("subject", error && said.kind ? said.subject : NULL);
	put_number("programs", programs);
	put_number("maps", maps);
	put_string("log", said.text ? said.text : "");
	end('}');
	bpf_object__close(object);
}

int main(int argc, char **argv)
{
	char *line = NULL;
	size_t room = 0;
	ssize_t length;

	if (argc < 2 || argc > 3) {
		fputs("usage: load_peer PIN_ROOT [SECONDS] <PATHS\n", stderr);
		return 2;
	}
	libbpf_set_print(listen);
	while ((length = getline(&line, &room, stdin)) > 0) {
		char *only;

		if (line[length - 1] == '\n')
			line[length - 1] = 0;
		only = strchr(line, '\t');
		if (only)
			*only++ = 0;
		alarm(argc == 3 ? strtoul(argv[2], NULL, 10) : 60);
		outcome(line, only, argv[1]);
		alarm(0);
		remove_pins(argv[1]);
		end_document();
		forget();
	}
	free(line);
	return 0;
}
