// How peers time what they repeat: in nanoseconds of a clock that only goes forward.

#ifndef TIMING_H
#define TIMING_H

#include <stddef.h>

double time_now(void);

// Sorts the times of repetitions and gives the one in the middle.
double median_time(double *times, size_t count);

// Sorts the times of repetitions and prints them as an object of JSON: median_ns, min_ns and n, and one more number if it
// has a name.
void print_times(double *times, size_t count, const char *name, long long value);

// The most memory that this process had since its program began.
long long peak_bytes(void);

#endif
