#include "timing.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

double time_now(void)
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

double median_time(double *times, size_t count)
{
	qsort(times, count, sizeof(*times), by_value);
	return times[count / 2];
}

void print_times(double *times, size_t count, const char *name, long long value)
{
	double median = median_time(times, count);

	printf("{\"median_ns\":%.1f,\"min_ns\":%.1f,\"n\":%zu", median, times[0], count);
	if (name)
		printf(",\"%s\":%lld", name, value);
	printf("}\n");
}

// What getrusage(2) says is that of the process that started this one, where that had more.
long long peak_bytes(void)
{
	FILE *file = fopen("/proc/self/status", "r");
	long long kilobytes = 0;
	char line[128];

	while (file && fgets(line, sizeof(line), file))
		if (sscanf(line, "VmHWM: %lld", &kilobytes) == 1)
			break;
	if (file)
		fclose(file);
	return kilobytes * 1024;
}
