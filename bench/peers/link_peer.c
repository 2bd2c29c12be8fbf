// libbpf's static linker as a peer:
//
//   link_peer REPETITIONS OUT IN...
//
// links the files IN into OUT that many times in one process, after a warm-up, and prints {"median_ns", "min_ns", "n",
// "peak_bytes"}: the whole of making a linker, reading every file, and writing the result. libbpf before 1.6 has no linker
// of bytes in memory; with OUT and IN on a file system in memory no disk is waited for.

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <bpf/libbpf.h>

#include "timing.h"

static int link_once(const char *out, int count, char **files)
{
	struct bpf_linker *linker = bpf_linker__new(out, NULL);
	int error = linker ? 0 : -errno;

	for (int i = 0; i < count && !error; i++)
		error = bpf_linker__add_file(linker, files[i], NULL);
	if (!error)
		error = bpf_linker__finalize(linker);
	bpf_linker__free(linker);
	return error;
}

int main(int argc, char **argv)
{
	long repetitions = argc < 4 ? 0 : strtol(argv[1], NULL, 10), warm_up = repetitions < 3 ? 0 : 3;
	double *times;

	if (repetitions < 1) {
		fprintf(stderr, "usage: link_peer REPETITIONS OUT IN...\n");
		return 2;
	}
	times = calloc(repetitions, sizeof(*times));
	if (!times)
		return 1;
	for (long i = -warm_up; i < repetitions; i++) {
		double start = time_now();
		int error = link_once(argv[2], argc - 3, argv + 3);

		if (error) {
			fprintf(stderr, "link_peer: %s\n", strerror(-error));
			return 1;
		}
		if (i >= 0)
			times[i] = time_now() - start;
	}
	print_times(times, repetitions, "peak_bytes", peak_bytes());
	free(times);
	return 0;
}
