// libbpf's search for functions in binaries as a peer:
//
//   offsets_peer find BINARY NAMES                 one name after another, by the rules for a single name
//   offsets_peer bulk BINARY NAMES                 all at once, by the rules for lists
//   offsets_peer match BINARY PATTERN              all names that match
//   offsets_peer bench BINARY NAMES REPETITIONS    how long all at once take
//
// NAMES is a file with a name per line. Offsets are printed one per line; "find" prints a negative error in place of an
// offset, the others the error alone. "bench" opens the binary each time, after a warm-up, and prints {"median_ns",
// "min_ns", "n", "peak_bytes"}.
//
// The search is not part of libbpf's interface. The static library has it all the same: this is linked against that.

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <bpf/libbpf.h>

#include "timing.h"

// As libbpf 1.5 declares them for itself.
long elf_find_func_offset_from_file(const char *binary_path, const char *name);
int elf_resolve_syms_offsets(const char *binary_path, int cnt, const char **syms, unsigned long **poffsets, int st_type);
int elf_resolve_pattern_offsets(const char *binary_path, const char *pattern, unsigned long **poffsets, size_t *pcnt);

#define FUNCTION 2

static int silent(enum libbpf_print_level level, const char *format, va_list list)
{
	(void)level, (void)format, (void)list;
	return 0;
}

// The lines of a file, without their ends; the count is in *count.
static const char **read_lines(const char *path, int *count)
{
	FILE *file = fopen(path, "r");
	const char **lines = NULL;
	char *line = NULL;
	size_t room = 0;
	ssize_t length;

	if (!file) {
		perror(path);
		exit(1);
	}
	for (*count = 0; (length = getline(&line, &room, file)) >= 0; ++*count) {
		if (length > 0 && line[length - 1] == '\n')
			line[length - 1] = '\0';
		lines = realloc(lines, (*count + 1) * sizeof(*lines));
		lines[*count] = strdup(line);
	}
	fclose(file);
	return lines;
}

static int bench(const char *binary, int count, const char **names, int repetitions)
{
	double *times = calloc(repetitions, sizeof(*times));

	for (int i = -5; i < repetitions; i++) {
		unsigned long *offsets = NULL;
		double start = time_now();
		int error = elf_resolve_syms_offsets(binary, count, names, &offsets, FUNCTION);

		if (error) {
			fprintf(stderr, "%s: %d\n", binary, error);
			return 1;
		}
		if (i >= 0)
			times[i] = time_now() - start;
		free(offsets);
	}
	print_times(times, repetitions, "peak_bytes", peak_bytes());
	return 0;
}

static int print_all(int error, const unsigned long *offsets, size_t count)
{
	if (error)
		printf("%d\n", error);
	for (size_t i = 0; !error && i < count; i++)
		printf("%lu\n", offsets[i]);
	return 0;
}

int main(int argc, char **argv)
{
	unsigned long *offsets = NULL;
	const char **names;
	size_t found = 0;
	int count, error;

	libbpf_set_print(silent);
	if (argc < 4) {
		fprintf(stderr, "usage: %s find|bulk|match|bench BINARY NAMES|PATTERN [REPETITIONS]\n", argv[0]);
		return 2;
	}
	if (strcmp(argv[1], "match") == 0) {
		error = elf_resolve_pattern_offsets(argv[2], argv[3], &offsets, &found);
		return print_all(error, offsets, found);
	}
	names = read_lines(argv[3], &count);
	if (strcmp(argv[1], "find") == 0) {
		for (int i = 0; i < count; i++)
			printf("%ld\n", elf_find_func_offset_from_file(argv[2], names[i]));
		return 0;
	}
	if (strcmp(argv[1], "bulk") == 0) {
		error = elf_resolve_syms_offsets(argv[2], count, names, &offsets, FUNCTION);
		return print_all(error, offsets, count);
	}
	return bench(argv[2], count, names, argc > 4 ? atoi(argv[4]) : 100);
}
