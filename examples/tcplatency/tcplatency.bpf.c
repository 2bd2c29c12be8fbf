// How long connections of TCP take to be made: from the first packet that is sent to the answer.

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#define AF_INET 2
#define IPPROTO_TCP 6
#define TCP_ESTABLISHED 1
#define TCP_SYN_SENT 2

struct connection {
	__u32 pid;
	__u16 family;
	__u16 port;         // of the other side
	__u64 nanoseconds;
	char command[16];
	__u8 address[16];   // of the other side; one of IPv4 has the first four bytes
	_Bool established;  // or given up
};

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 18);
} connections SEC(".maps") __attribute__((btf_decl_tag("event:struct connection")));

// Who has begun a connection, and when.
struct start {
	__u64 time;
	__u32 pid;
	char command[16];
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 10240);
	__type(key, const void *);
	__type(value, struct start);
} starting SEC(".maps");

// How many took so long: the n-th counts those of 2^n microseconds and more.
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 32);
	__type(key, __u32);
	__type(value, __u64);
} histogram SEC(".maps");

// Keeps the type of the records in the BTF.
const struct connection *unused_connection __attribute__((unused));

const volatile __u64 at_least = 0; // nanoseconds: faster ones are counted and not reported

__u64 connections_lost; // records for which there was no room

struct state_args {
	__u64 common;
	const void *socket;
	__s32 old_state;
	__s32 new_state;
	__u16 source_port;
	__u16 port;
	__u16 family;
	__u16 protocol;
	__u8 source[4];
	__u8 destination[4];
	__u8 source6[16];
	__u8 destination6[16];
};

static __always_inline __u32 log2_of(__u64 value)
{
	__u32 log = 0;

	for (int bit = 0; bit < 31; bit++) {
		value >>= 1;
		if (!value)
			break;
		log++;
	}
	return log;
}

static __always_inline void begin(struct state_args *args)
{
	const void *socket = args->socket;
	struct start start = { .time = bpf_ktime_get_ns(), .pid = bpf_get_current_pid_tgid() >> 32 };

	bpf_get_current_comm(start.command, sizeof(start.command));
	bpf_map_update_elem(&starting, &socket, &start, BPF_ANY);
}

static __always_inline void report(struct state_args *args, struct start *start, __u64 nanoseconds, _Bool established)
{
	struct connection *connection = bpf_ringbuf_reserve(&connections, sizeof(*connection), 0);

	if (!connection) {
		__sync_fetch_and_add(&connections_lost, 1);
		return;
	}
	__builtin_memset(connection, 0, sizeof(*connection));
	connection->pid = start->pid;
	connection->family = args->family;
	connection->port = args->port;
	connection->nanoseconds = nanoseconds;
	__builtin_memcpy(connection->command, start->command, sizeof(connection->command));
	if (args->family == AF_INET)
		__builtin_memcpy(connection->address, args->destination, sizeof(args->destination));
	else
		__builtin_memcpy(connection->address, args->destination6, sizeof(args->destination6));
	connection->established = established;
	bpf_ringbuf_submit(connection, 0);
}

SEC("tracepoint/sock/inet_sock_set_state")
int on_state(struct state_args *args)
{
	const void *socket = args->socket;
	struct start *start;
	__u64 nanoseconds, *count;
	__u32 slot;

	if (args->protocol != IPPROTO_TCP)
		return 0;
	if (args->new_state == TCP_SYN_SENT) {
		begin(args);
		return 0;
	}
	if (args->old_state != TCP_SYN_SENT)
		return 0;
	start = bpf_map_lookup_elem(&starting, &socket);
	if (!start)
		return 0;
	nanoseconds = bpf_ktime_get_ns() - start->time;
	if (args->new_state == TCP_ESTABLISHED) {
		slot = log2_of(nanoseconds / 1000);
		count = bpf_map_lookup_elem(&histogram, &slot);
		if (count)
			__sync_fetch_and_add(count, 1);
	}
	if (nanoseconds >= at_least)
		report(args, start, nanoseconds, args->new_state == TCP_ESTABLISHED);
	bpf_map_delete_elem(&starting, &socket);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
