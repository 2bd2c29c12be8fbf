// What btf_peer measures of libbpf.

#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "btf_peer.h"
#include "timing.h"

static void into_nothing(void *context, const char *format, va_list list)
{
	(void)context, (void)format, (void)list;
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
	double time = time_now();
	struct btf *btf = btf__new(work->bytes, work->size);
	struct mallinfo2 after;

	if (!btf)
		return -1;
	time = time_now() - time;
	after = mallinfo2();
	work->heap = after.uordblks + after.hblkhd - before.uordblks - before.hblkhd;
	btf__free(btf);
	return time;
}

// From wherever libbpf finds the running kernel's types, the reading included.
static double load_once(struct work *work)
{
	double time = time_now();
	struct btf *btf = btf__load_vmlinux_btf();

	(void)work;
	if (!btf)
		return -1;
	time = time_now() - time;
	btf__free(btf);
	return time;
}

static double find_once(struct work *work)
{
	// Many at once, so that the clock is not what is measured: about 50 microseconds or more.
	static int calls;
	double time, start = time_now();

	while (calls == 0 || time_now() - start < (calls < 0 ? 50e3 : 0)) {
		btf__find_by_name_kind(work->btf, work->name, work->kind);
		calls--;
	}
	if (calls < 0)
		calls = -calls;
	time = time_now();
	for (int i = 0; i < calls; i++)
		btf__find_by_name_kind(work->btf, work->name, work->kind);
	return (time_now() - time) / calls;
}

static double append_once(struct work *work)
{
	struct btf *btf = btf__new(work->bytes, work->size);
	double time;
	int error;

	if (!btf)
		return -1;
	time = time_now();
	error = btf__add_btf(btf, work->btf);
	time = time_now() - time;
	btf__free(btf);
	return error < 0 ? -1 : time;
}

static double dedup_once(struct work *work)
{
	struct btf *btf = btf__new(work->bytes, work->size);
	double time = -1;

	if (btf && btf__add_btf(btf, work->btf) >= 0) {
		time = time_now();
		time = btf__dedup(btf, NULL) ? -1 : time_now() - time;
	}
	btf__free(btf);
	return time;
}

static double dump_once(struct work *work)
{
	double time = time_now();
	struct btf_dump *dump = btf_dump__new(work->btf, into_nothing, NULL, NULL);
	int error = dump ? 0 : errno;

	for (__u32 id = 1; id < btf__type_cnt(work->btf) && !error; id++)
		error = btf_dump__dump_type(dump, id);
	btf_dump__free(dump);
	return error ? -1 : time_now() - time;
}

int bench_command(int count, char **args, struct btf *base)
{
	const struct {
		const char *name;
		double (*once)(struct work *);
		int count;
	} works[] = {
		{ "parse", parse_once, 3 },
		{ "load", load_once, 3 },
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
		print_times(times, repetitions, work.heap ? "heap_bytes" : NULL, work.heap);
		free(times);
		return 0;
	}
	return failed_with(EINVAL);
}
