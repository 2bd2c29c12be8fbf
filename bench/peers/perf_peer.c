// libbpf's consumers of buffers that programs send records to.
//
//   perf_peer full OBJECT RECORDS REPETITIONS   takes so many records of test/fixtures/perf_events that lie ready in the perf
//                                               buffer of CPU 0; prints the median time as JSON
//   perf_peer records OBJECT                    prints the records that test/fixtures/typed_events sends in one run of its
//                                               programs: map, CPU (- in a ring buffer) and bytes in hexadecimal
//
// Exit status: 0, 1 when something failed or records were lost, 2 for wrong usage.

#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/bpf.h>

#include "timing.h"

static uint64_t next, lost;

static void take(void *context, int cpu, void *data, __u32 size)
{
	(void)context;
	(void)cpu;
	if (size != 20 || *(uint64_t *)data != next)
		lost++;
	next++;
}

static void miss(void *context, int cpu, __u64 count)
{
	(void)context;
	(void)cpu;
	lost += count;
}

static void print(const char *map, int cpu, const void *data, size_t size)
{
	printf("%s ", map);
	if (cpu < 0)
		printf("- ");
	else
		printf("%d ", cpu);
	for (size_t at = 0; at < size; at++)
		printf("%02x", ((const unsigned char *)data)[at]);
	printf("\n");
}

static int print_ring(void *map, void *data, size_t size)
{
	print(map, -1, data, size);
	return 0;
}

static void print_perf(void *map, int cpu, void *data, __u32 size)
{
	print(map, cpu, data, size);
}

static int map_of(struct bpf_object *object, const char *name)
{
	return bpf_object__find_map_fd_by_name(object, name);
}

static int run_on_first(struct bpf_object *object, const char *name, uint64_t count)
{
	const uint64_t arguments[3] = { count, 0, 0 };
	LIBBPF_OPTS(bpf_test_run_opts, options, .ctx_in = arguments, .ctx_size_in = sizeof(arguments),
		    .flags = BPF_F_TEST_RUN_ON_CPU, .cpu = 0);

	return bpf_prog_test_run_opts(bpf_program__fd(bpf_object__find_program_by_name(object, name)), &options);
}

static int full(struct bpf_object *object, uint64_t records, int repetitions)
{
	struct perf_buffer *buffer;
	double *times = calloc(repetitions, sizeof(*times));
	size_t pages = 1;

	// 32 bytes each.
	while (pages * 4096 < records * 32 + 4096)
		pages *= 2;
	buffer = perf_buffer__new(map_of(object, "records"), pages, take, miss, NULL, NULL);
	if (!buffer || !times)
		return 1;
	for (int i = 0; i < repetitions; i++) {
		uint64_t until = next + records;
		double begun;

		if (run_on_first(object, "send_fast", records))
			return 1;
		begun = time_now();
		if (perf_buffer__consume(buffer))
			return 1;
		times[i] = time_now() - begun;
		if (next != until || lost) {
			fprintf(stderr, "%llu of %llu records\n", (unsigned long long)next, (unsigned long long)until);
			return 1;
		}
	}
	print_times(times, repetitions, NULL, 0);
	perf_buffer__free(buffer);
	return 0;
}

static int records(struct bpf_object *object)
{
	struct ring_buffer *rings = ring_buffer__new(map_of(object, "execs"), print_ring, "execs", NULL);
	struct perf_buffer *buffer = perf_buffer__new(map_of(object, "samples"), 8, print_perf, miss, "samples", NULL);
	const struct {
		uint64_t events;
		int64_t value;
		uint64_t wake_up;
	} run = { .events = 40, .value = -7 };
	LIBBPF_OPTS(bpf_test_run_opts, execs, .ctx_in = (void *)&run, .ctx_size_in = sizeof(run));
	LIBBPF_OPTS(bpf_test_run_opts, mixed, .ctx_in = (void *)&run, .ctx_size_in = sizeof(run));

	if (!rings || !buffer || ring_buffer__add(rings, map_of(object, "mixed"), print_ring, "mixed"))
		return 1;
	if (bpf_prog_test_run_opts(bpf_program__fd(bpf_object__find_program_by_name(object, "send_execs")), &execs) ||
	    bpf_prog_test_run_opts(bpf_program__fd(bpf_object__find_program_by_name(object, "send_mixed")), &mixed) ||
	    run_on_first(object, "send_samples", 30))
		return 1;
	if (ring_buffer__consume(rings) < 0 || perf_buffer__consume(buffer) || lost)
		return 1;
	ring_buffer__free(rings);
	perf_buffer__free(buffer);
	return 0;
}

int main(int argc, char **argv)
{
	const int is_full = argc == 5 && !strcmp(argv[1], "full");
	struct bpf_object *object;

	if (!is_full && !(argc == 3 && !strcmp(argv[1], "records"))) {
		fprintf(stderr, "usage: %s full OBJECT RECORDS REPETITIONS | records OBJECT\n", argv[0]);
		return 2;
	}
	object = bpf_object__open(argv[2]);
	if (!object || bpf_object__load(object))
		return 1;
	return is_full ? full(object, strtoull(argv[3], NULL, 0), atoi(argv[4])) : records(object);
}
