// Pauses of Node.js for garbage collection: the time between the call of V8's function for it and its return.

#include <linux/bpf.h>
#include <linux/ptrace.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

// The order of v8::internal::GarbageCollector.
enum collector {
	COLLECTOR_SCAVENGER,
	COLLECTOR_MARK_COMPACTOR,
	COLLECTOR_MINOR_MARK_SWEEPER,
};

struct pause {
	__u32 pid;
	__u32 thread;
	__u64 nanoseconds;
	enum collector collector;
	char command[16];
};

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 18);
} pauses SEC(".maps") __attribute__((btf_decl_tag("event:struct pause")));

struct start {
	__u64 time;
	enum collector collector;
	__u32 reserved;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 10240);
	__type(key, __u64);
	__type(value, struct start);
} collecting SEC(".maps");

// Keeps the type of the records in the BTF.
const struct pause *unused_pause __attribute__((unused));

__u64 pauses_lost; // records for which there was no room

// Heap::PerformGarbageCollection(GarbageCollector, ...): the first argument of C++ is the heap. Which file and which
// symbol it is, is found out when the program is attached.
SEC("uprobe")
int collection_begins(struct pt_regs *ctx)
{
	__u64 thread = bpf_get_current_pid_tgid();
	struct start start = { .time = bpf_ktime_get_ns(), .collector = (enum collector)(__u32)PT_REGS_PARM2(ctx) };

	bpf_map_update_elem(&collecting, &thread, &start, BPF_ANY);
	return 0;
}

SEC("uretprobe")
int collection_ends(struct pt_regs *ctx)
{
	__u64 thread = bpf_get_current_pid_tgid();
	struct start *start = bpf_map_lookup_elem(&collecting, &thread);
	struct pause *pause;

	if (!start)
		return 0;
	pause = bpf_ringbuf_reserve(&pauses, sizeof(*pause), 0);
	if (pause) {
		pause->pid = thread >> 32;
		pause->thread = thread;
		pause->nanoseconds = bpf_ktime_get_ns() - start->time;
		pause->collector = start->collector;
		bpf_get_current_comm(pause->command, sizeof(pause->command));
		bpf_ringbuf_submit(pause, 0);
	} else {
		__sync_fetch_and_add(&pauses_lost, 1);
	}
	bpf_map_delete_elem(&collecting, &thread);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
