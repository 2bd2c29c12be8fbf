// What libbpf's wrappers of bpf(2) take for the elements of a hash of 4-byte keys and 8-byte values.
//
//   map_peer bench WORK ELEMENTS REPETITIONS    WORK: get, set (one call for each element), setall, entries (batches)
//
// Prints the median time of a repetition as JSON. Exit status: 0, 1 when a call failed, 2 for wrong usage.

#define _GNU_SOURCE
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <bpf/bpf.h>
#include <linux/bpf.h>

#include "timing.h"

#define BATCH 4096

static void fail(const char *what)
{
	fprintf(stderr, "%s: %s\n", what, strerror(errno));
	exit(1);
}

static uint32_t *keys;
static uint64_t *values;
static volatile uint64_t sum;

static void get(int fd, uint32_t count)
{
	uint64_t value, total = 0;

	for (uint32_t key = 0; key < count; key++) {
		if (bpf_map_lookup_elem(fd, &key, &value))
			fail("lookup");
		total += value;
	}
	sum = total;
}

static void set(int fd, uint32_t count)
{
	for (uint32_t key = 0; key < count; key++) {
		uint64_t value = key;

		if (bpf_map_update_elem(fd, &key, &value, BPF_ANY))
			fail("update");
	}
}

static void set_all(int fd, uint32_t count)
{
	for (uint32_t at = 0; at < count; at += BATCH) {
		uint32_t now = count - at < BATCH ? count - at : BATCH;

		for (uint32_t i = 0; i < now; i++) {
			keys[i] = at + i;
			values[i] = at + i;
		}
		if (bpf_map_update_batch(fd, keys, values, &now, NULL))
			fail("update batch");
	}
}

static void entries(int fd, uint32_t count)
{
	uint32_t cursor, found = 0;
	uint64_t total = 0;
	int error = 0;

	for (bool first = true; !error; first = false) {
		uint32_t now = BATCH;

		error = bpf_map_lookup_batch(fd, first ? NULL : &cursor, &cursor, keys, values, &now, NULL);
		if (error && errno != ENOENT)
			fail("lookup batch");
		for (uint32_t i = 0; i < now; i++)
			total += keys[i] + values[i];
		found += now;
	}
	if (found != count) {
		errno = EPROTO;
		fail("elements are missing");
	}
	sum = total;
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*work)(int, uint32_t);
	} works[] = { { "get", get }, { "set", set }, { "setall", set_all }, { "entries", entries } };
	uint32_t count, repetitions;
	double *times;
	int fd;

	if (argc != 5 || strcmp(argv[1], "bench"))
		return 2;
	count = atoi(argv[3]);
	repetitions = atoi(argv[4]);
	keys = calloc(BATCH, sizeof(*keys));
	values = calloc(BATCH, sizeof(*values));
	times = calloc(repetitions, sizeof(*times));
	if (!keys || !values || !times || !repetitions)
		return 2;
	fd = bpf_map_create(BPF_MAP_TYPE_HASH, "bench", 4, 8, count, NULL);
	if (fd < 0)
		fail("create");
	set(fd, count);
	for (size_t i = 0; i < sizeof(works) / sizeof(works[0]); i++) {
		if (strcmp(argv[2], works[i].name))
			continue;
		for (uint32_t round = 0; round < repetitions; round++) {
			double begun = time_now();

			works[i].work(fd, count);
			times[round] = time_now() - begun;
		}
		print_times(times, repetitions, NULL, 0);
		return 0;
	}
	return 2;
}
