// Who starts programs and opens files: two kinds of records in one ring buffer.

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct exec_event {
	__u32 pid;
	__u32 uid;
	char command[16]; // what the process is called from now on
	char file[128];
};

struct open_event {
	__u32 pid;
	__s32 result; // the descriptor, or an error number below 0
	char command[16];
	char file[256];
};

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 20);
} events SEC(".maps") __attribute__((btf_decl_tag("event:struct exec_event")))
__attribute__((btf_decl_tag("event:struct open_event")));

// What a thread has asked for and not yet been answered: the address of the file's name.
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 10240);
	__type(key, __u64);
	__type(value, const char *);
} opening SEC(".maps");

// Keep the types of the records in the BTF.
const struct exec_event *unused_exec_event __attribute__((unused));
const struct open_event *unused_open_event __attribute__((unused));

const volatile __u32 own_pid = 0;      // who is watching is not watched
const volatile _Bool failed_only = 0;  // only opens that went wrong

__u64 events_lost; // records for which there was no room

struct exec_args {
	__u64 common;
	__u32 file; // where the name lies in the record: offset, and length above
	__s32 pid;
};

SEC("tracepoint/sched/sched_process_exec")
int on_exec(struct exec_args *args)
{
	struct exec_event *event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);

	if (!event) {
		__sync_fetch_and_add(&events_lost, 1);
		return 0;
	}
	event->pid = bpf_get_current_pid_tgid() >> 32;
	event->uid = bpf_get_current_uid_gid();
	bpf_get_current_comm(event->command, sizeof(event->command));
	__builtin_memset(event->file, 0, sizeof(event->file));
	bpf_probe_read_kernel_str(event->file, sizeof(event->file), (void *)args + (args->file & 0xffff));
	bpf_ringbuf_submit(event, 0);
	return 0;
}

struct enter_openat_args {
	__u64 common;
	__u64 number;
	__s64 folder;
	const char *file;
};

SEC("tracepoint/syscalls/sys_enter_openat")
int on_open(struct enter_openat_args *args)
{
	__u64 thread = bpf_get_current_pid_tgid();
	const char *file = args->file;

	if (thread >> 32 != own_pid)
		bpf_map_update_elem(&opening, &thread, &file, BPF_ANY);
	return 0;
}

struct exit_args {
	__u64 common;
	__u64 number;
	__s64 result;
};

SEC("tracepoint/syscalls/sys_exit_openat")
int on_opened(struct exit_args *args)
{
	__u64 thread = bpf_get_current_pid_tgid();
	const char **file = bpf_map_lookup_elem(&opening, &thread);
	struct open_event *event;

	if (!file)
		return 0;
	if (!failed_only || args->result < 0) {
		event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);
		if (event) {
			event->pid = thread >> 32;
			event->result = args->result;
			bpf_get_current_comm(event->command, sizeof(event->command));
			__builtin_memset(event->file, 0, sizeof(event->file));
			bpf_probe_read_user_str(event->file, sizeof(event->file), *file);
			bpf_ringbuf_submit(event, 0);
		} else {
			__sync_fetch_and_add(&events_lost, 1);
		}
	}
	bpf_map_delete_elem(&opening, &thread);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
