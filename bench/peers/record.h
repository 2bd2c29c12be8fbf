// Prints every bpf(2) call of libbpf while it loads an object.
//
// Calls are seen because this program defines syscall(): the dynamic libbpf calls that one instead of the C library's.
// A call that belongs to one of libbpf's probes of kernel features, not to the object, has "probe": true. The rule:
//   - a map is a probe's when it has no name or one that starts with "libbpf_": maps of objects always have a name;
//   - a program is a probe's when the object has none of its name;
//   - BTF is a probe's when it is not as long as the object's BTF (probes use a hundred bytes or less);
//   - calls on descriptors of those follow them. Descriptors are named "map:NAME", "prog:NAME", "btf", "pin:PATH", and
//     those of probes "probe"; null is a descriptor that no call before gave.

#ifndef RECORD_H
#define RECORD_H

#include <bpf/libbpf.h>

// From here until record_end, each call is printed as an object, an element of a JSON array.
void record_begin(struct bpf_object *object);
void record_end(void);

// How many nanoseconds were spent inside bpf(2) so far, and how many of them loading programs.
long long record_inside(void);
long long record_loading(void);

#endif
