/* A script of helper calls: what to call with which numbers comes in, what it answered goes out. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <stddef.h>

#define STEPS 4
#define BYTES 64

struct step {
	__u32 op;
	__u32 size;
	__u64 a;
	__u64 b;
	__u64 c;
	__u64 d;
	__u8 bytes[BYTES];
};

struct answer {
	__s64 answer;
	__u32 fields[24];
	__u64 times[2];
	__u8 bytes[BYTES];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, STEPS);
	__type(key, __u32);
	__type(value, struct step);
} steps SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, STEPS);
	__type(key, __u32);
	__type(value, struct answer);
} answers SEC(".maps");

/* Keeps the compiler from knowing a number that the verifier has to check. */
#define opaque(x) asm volatile("" : "+r"(x))

char LICENSE[] SEC("license") = "GPL";
