// libbpf's consumer of a ring buffer, on the records of test/fixtures/ring_flood: prints the median time as JSON.
//
//   ring_peer full OBJECT RECORDS REPETITIONS   takes so many records that lie ready
//   ring_peer live OBJECT RECORDS REPETITIONS   takes them while another thread runs the program that sends them
//
// Exit status: 0, 1 when something failed or records were lost, 2 for wrong usage.

#define _GNU_SOURCE
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "timing.h"

struct run_context {
	uint64_t events;
	int64_t value;
	uint64_t wake_up;
};

static uint64_t next, records;
static int filter;

static int take(void *context, void *data, size_t size)
{
	(void)context;
	if (size != 8 || *(uint64_t *)data != next)
		return -1;
	next++;
	return 0;
}

static void *send(void *unused)
{
	static char packet[64];
	LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = packet, .data_size_in = sizeof(packet), .repeat = records);

	(void)unused;
	return (void *)(intptr_t)bpf_prog_test_run_opts(filter, &options);
}

int main(int argc, char **argv)
{
	struct bpf_object *object;
	struct ring_buffer *ring;
	struct bpf_map *map;
	int many, repetitions, live;
	double *times;
	uint64_t until;

	if (argc != 5 || (strcmp(argv[1], "full") && strcmp(argv[1], "live"))) {
		fprintf(stderr, "usage: %s full|live OBJECT RECORDS REPETITIONS\n", argv[0]);
		return 2;
	}
	live = !strcmp(argv[1], "live");
	records = strtoull(argv[3], NULL, 0);
	repetitions = atoi(argv[4]);
	object = bpf_object__open(argv[2]);
	if (!object)
		return 1;
	map = bpf_object__find_map_by_name(object, "plain");
	bpf_map__set_max_entries(map, 1 << 25);
	if (bpf_object__load(object))
		return 1;
	many = bpf_program__fd(bpf_object__find_program_by_name(object, "plain_many"));
	filter = bpf_program__fd(bpf_object__find_program_by_name(object, "plain_one"));
	ring = ring_buffer__new(bpf_map__fd(map), take, NULL, NULL);
	times = calloc(repetitions, sizeof(*times));
	if (!ring || !times || repetitions < 1)
		return 1;
	for (int i = 0; i < repetitions; i++) {
		struct run_context run = { .events = records };
		LIBBPF_OPTS(bpf_test_run_opts, options, .ctx_in = &run, .ctx_size_in = sizeof(run));
		pthread_t thread;
		double begun;

		until = next + records;
		if (!live && bpf_prog_test_run_opts(many, &options))
			return 1;
		begun = time_now();
		if (live && pthread_create(&thread, NULL, send, NULL))
			return 1;
		while (next < until) {
			int taken = live ? ring_buffer__poll(ring, 1000) : ring_buffer__consume(ring);

			if (taken < 0 || (taken == 0 && !live)) {
				fprintf(stderr, "%llu of %llu records\n", (unsigned long long)next, (unsigned long long)until);
				return 1;
			}
		}
		times[i] = time_now() - begun;
		if (live)
			pthread_join(thread, NULL);
	}
	print_times(times, repetitions, NULL, 0);
	return 0;
}
