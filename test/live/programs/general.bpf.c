// Helpers that need no packet: text, checksums, memory, dynptrs, ring buffers, loops, maps.
#include "steps.h"

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} ring SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_USER_RINGBUF);
	__uint(max_entries, 4096);
} user_ring SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_QUEUE);
	__uint(max_entries, 3);
	__type(value, __u64);
} queue SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_STACK);
	__uint(max_entries, 3);
	__type(value, __u64);
} stack SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_BLOOM_FILTER);
	__uint(max_entries, 8);
	__uint(map_flags, BPF_F_ZERO_SEED);
	__type(value, __u64);
} bloom SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 5);
	__type(key, __u32);
	__type(value, __u64);
} hash SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, __u64);
} percpu SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, __u32);
} perf SEC(".maps");

struct locked {
	struct bpf_spin_lock lock;
	__u32 count;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct locked);
} counters SEC(".maps");

struct bpf_map;

/* Newer than Debian's headers. */
struct bpf_iter_num {
	__u64 opaque[1];
} __attribute__((aligned(8)));

extern int bpf_iter_num_new(struct bpf_iter_num *it, int start, int end) __weak __ksym;
extern int *bpf_iter_num_next(struct bpf_iter_num *it) __weak __ksym;
extern void bpf_iter_num_destroy(struct bpf_iter_num *it) __weak __ksym;
extern void bpf_rcu_read_lock(void) __weak __ksym;
extern void bpf_rcu_read_unlock(void) __weak __ksym;

struct loop {
	__u64 stop;
	__u64 sum;
	__u32 turns;
};

static long turn(__u64 index, void *context)
{
	struct loop *loop = context;

	loop->turns++;
	loop->sum += index * 3;
	return index == loop->stop;
}

static long element(struct bpf_map *map, __u32 *key, __u64 *value, struct loop *loop)
{
	loop->turns++;
	loop->sum += *key * 7 + *value;
	return loop->turns == loop->stop;
}

static long array_element(struct bpf_map *map, __u32 *key, struct step *value, struct loop *loop)
{
	loop->turns++;
	loop->sum += *key * 7 + value->op;
	return loop->turns == loop->stop;
}

static long sample(struct bpf_dynptr *dynptr, void *context)
{
	struct loop *loop = context;
	__u32 word = 0;
	__u8 *byte;

	loop->turns++;
	loop->sum += bpf_dynptr_read(&word, sizeof(word), dynptr, 0, 0);
	loop->sum += word;
	byte = bpf_dynptr_data(dynptr, 4, 1);
	if (byte)
		loop->sum += *byte;
	return loop->turns == loop->stop;
}

static const char numbers[] = "%d|%5u|%-6x|%lX|%+lld|% d|%05d|%c%%";
static const char texts[] = "%s,%8s,%-8s,%pks";
static const char addresses[] = "%pi4 %pI4 %pi6 %pI6";
static const char pointers[] = "%px %px|%20px|%-20px";
static const char none[] = "plain";

static __always_inline __s64 print(struct step *in, struct answer *out, __u32 size)
{
	__u64 args[8] = { in->a, in->b, in->c, in->d, in->a, in->b, in->c, in->d };
	__u64 strings[4] = { (long)in->bytes, (long)in->bytes + 8, (long)in->bytes + 40, in->a };

	switch (in->op) {
	case 10:
		return bpf_snprintf((char *)out->bytes, size, numbers, args, 64);
	case 11:
		return bpf_snprintf((char *)out->bytes, size, texts, strings, 32);
	case 12:
		return bpf_snprintf((char *)out->bytes, size, addresses, strings, 32);
	case 13:
		return bpf_snprintf((char *)out->bytes, size, pointers, args, 32);
	case 14:
		return bpf_snprintf((char *)out->bytes, size, none, 0, 0);
	}
	return -1;
}

static __noinline __s64 text(struct step *in, struct answer *out)
{
	__u32 size = in->size & (BYTES - 1);

	opaque(size);
	size &= BYTES - 1;
	switch (in->op) {
	case 0:
		return size == 0 ? 0 : bpf_strtol((char *)in->bytes, size, in->a, (long *)&out->times[0]);
	case 1:
		return size == 0 ? 0 : bpf_strtoul((char *)in->bytes, size, in->a, (unsigned long *)&out->times[0]);
	case 2:
		return size == 0 ? 0 : bpf_strncmp((char *)in->bytes, size, none);
	case 3:
		return size == 0 ? 0 : bpf_trace_printk((char *)in->bytes, size, in->a, in->b, in->c);
	case 4:
		return size == 0 ? 0 : bpf_trace_vprintk((char *)in->bytes, size, &in->a, 32);
	case 5:
		return size == 0 ? 0 : bpf_trace_vprintk((char *)in->bytes, size, &in->a, 8);
	}
	return print(in, out, size);
}

static __noinline __s64 memory(struct step *in, struct answer *out)
{
	__u32 size = in->size & (BYTES - 1);
	__u32 more = in->d & (BYTES - 1);
	struct bpf_dynptr dynptr;
	__s64 answer;
	__u8 *slice;

	opaque(size);
	opaque(more);
	size &= BYTES - 1;
	more &= BYTES - 1;
	switch (in->op) {
	case 20:
		return bpf_csum_diff((__be32 *)in->bytes, size, (__be32 *)&in->a, in->a & 28, in->b);
	case 21:
		return bpf_csum_diff((__be32 *)in->bytes, size & 60, (__be32 *)out->bytes, more & 60, in->b);
	case 22:
		return bpf_csum_diff(0, 0, (__be32 *)in->bytes, size & 60, in->b);
	case 23:
		return bpf_csum_diff((__be32 *)in->bytes, size & 60, 0, 0, in->b);
	case 24:
		return bpf_probe_read_kernel(out->bytes, size, in->bytes);
	case 25:
		out->bytes[0] = out->bytes[40] = 9;
		return bpf_probe_read_kernel(out->bytes, size, (void *)(in->a & 0xff));
	case 26:
		out->bytes[0] = out->bytes[40] = 9;
		return bpf_probe_read_kernel_str(out->bytes, size, in->bytes);
	case 27:
		out->bytes[0] = out->bytes[40] = 9;
		return bpf_probe_read_kernel_str(out->bytes, size, (void *)(in->a & 0xff));
	case 28:
		return bpf_probe_read_user(out->bytes, size, (void *)(in->a & 0xff));
	case 29:
		answer = bpf_dynptr_from_mem(out->bytes, 40, in->a, &dynptr);
		answer += 1000 * bpf_dynptr_write(&dynptr, in->b, in->bytes, size, 0);
		answer += 1000000 * bpf_dynptr_read(&out->fields[0], more, &dynptr, in->c, 0);
		slice = bpf_dynptr_data(&dynptr, 36, 4);
		if (slice)
			slice[1] ^= 0x11;
		slice = bpf_dynptr_data(&dynptr, 38, 4);
		return answer + (slice ? 1 : 0);
	}
	return -1;
}

static __noinline __s64 buffers(struct step *in, struct answer *out)
{
	__u32 size = in->size & (BYTES - 1);
	struct bpf_dynptr dynptr;
	struct loop loop = { .stop = in->b };
	__s64 answer;
	__u64 *record;

	opaque(size);
	size &= BYTES - 1;
	switch (in->op) {
	case 30:
		return bpf_ringbuf_output(&ring, in->bytes, size, in->b);
	case 31:
		record = bpf_ringbuf_reserve(&ring, 24, 0);
		if (!record)
			return -1;
		record[0] = in->a;
		record[1] = 0;
		record[2] = in->c;
		if (in->b & 1)
			bpf_ringbuf_discard(record, 0);
		else
			bpf_ringbuf_submit(record, BPF_RB_NO_WAKEUP);
		return 0;
	case 32:
		answer = bpf_ringbuf_reserve_dynptr(&ring, in->a & 0x1fff, in->b, &dynptr);
		answer += 1000 * bpf_dynptr_write(&dynptr, in->c, in->bytes, 8, 0);
		if (in->d & 1)
			bpf_ringbuf_submit_dynptr(&dynptr, 0);
		else
			bpf_ringbuf_discard_dynptr(&dynptr, 0);
		return answer;
	case 33:
		return bpf_ringbuf_query(&ring, in->a);
	case 34:
		answer = bpf_user_ringbuf_drain(&user_ring, sample, &loop, in->a);
		out->times[0] = loop.sum;
		out->fields[0] = loop.turns;
		return answer;
	}
	return -1;
}

static __noinline __s64 loops(struct step *in, struct answer *out)
{
	struct loop loop = { .stop = in->b };
	struct bpf_iter_num numbers;
	__s64 answer = 0;
	int *number;

	switch (in->op) {
	case 40:
		answer = bpf_loop(in->a, turn, &loop, in->c);
		break;
	case 41:
		answer = bpf_for_each_map_elem(&hash, element, &loop, in->c);
		/* The order of a hash is the kernel's secret. */
		if (loop.turns >= loop.stop)
			loop.sum = 0;
		break;
	case 42:
		answer = bpf_for_each_map_elem(&steps, array_element, &loop, in->c);
		break;
	case 43:
		answer = bpf_iter_num_new(&numbers, in->a, in->b);
		while ((number = bpf_iter_num_next(&numbers))) {
			loop.sum += *number;
			if (++loop.turns == 50)
				break;
		}
		bpf_iter_num_destroy(&numbers);
		break;
	case 44:
		bpf_rcu_read_lock();
		loop.turns = 1;
		bpf_rcu_read_unlock();
		break;
	}
	out->times[0] = loop.sum;
	out->fields[0] = loop.turns;
	return answer;
}

static __noinline __s64 maps(struct step *in, struct answer *out)
{
	__u32 key = in->a & 7;
	__u32 zero = 0;
	__u64 *value;
	struct locked *locked;

	switch (in->op) {
	case 50:
		return bpf_map_push_elem(&queue, &in->a, in->b);
	case 51:
		return bpf_map_pop_elem(&queue, &out->times[0]);
	case 52:
		return bpf_map_peek_elem(&queue, &out->times[0]);
	case 53:
		return bpf_map_push_elem(&stack, &in->a, in->b);
	case 54:
		return bpf_map_pop_elem(&stack, &out->times[0]);
	case 55:
		return bpf_map_push_elem(&bloom, &in->a, in->b);
	case 56:
		return bpf_map_peek_elem(&bloom, &in->a);
	case 57:
		return bpf_map_update_elem(&hash, &key, &in->b, in->c);
	case 58:
		return bpf_map_delete_elem(&hash, &key);
	case 59:
		value = bpf_map_lookup_elem(&hash, &key);
		if (!value)
			return -1;
		return *value += in->b;
	case 60:
		value = bpf_map_lookup_percpu_elem(&percpu, &key, in->b);
		return value ? 1 : 0;
	case 61:
		return bpf_map_update_elem(&percpu, &key, &in->b, in->c);
	case 62:
		locked = bpf_map_lookup_elem(&counters, &zero);
		if (!locked)
			return -1;
		bpf_spin_lock(&locked->lock);
		locked->count += in->a;
		bpf_spin_unlock(&locked->lock);
		return locked->count;
	}
	return -1;
}

SEC("tc")
int general_steps(struct __sk_buff *skb)
{
	__s64 last = 0;

	for (int i = 0; i < STEPS; i++) {
		__u32 key = i;
		struct step *in = bpf_map_lookup_elem(&steps, &key);
		struct answer *out = bpf_map_lookup_elem(&answers, &key);
		__u32 size;

		if (!in || !out)
			return -1;
		size = in->size;
		opaque(size);
		size &= BYTES - 1;
		if (in->op < 20)
			last = text(in, out);
		else if (in->op < 30)
			last = memory(in, out);
		else if (in->op < 40)
			last = buffers(in, out);
		else if (in->op < 50)
			last = loops(in, out);
		else if (in->op < 70)
			last = maps(in, out);
		else if (in->op == 70)
			last = bpf_perf_event_output(skb, &perf, in->a, in->bytes, size);
		out->answer = last;
	}
	return last;
}
