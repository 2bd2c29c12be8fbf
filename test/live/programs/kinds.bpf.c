// What programs of other kinds see of a packet, and what they leave in their context.
#include "steps.h"

SEC("cgroup_skb/egress")
int cgroup_look(struct __sk_buff *skb)
{
	__u32 key = 0;
	struct answer *out = bpf_map_lookup_elem(&answers, &key);
	__u8 *data = (void *)(long)skb->data;
	__u8 *end = (void *)(long)skb->data_end;

	if (!out)
		return 0;
	out->fields[0] = skb->len;
	out->fields[1] = skb->pkt_type;
	out->fields[2] = skb->mark;
	out->fields[3] = skb->queue_mapping;
	out->fields[4] = skb->protocol;
	out->fields[5] = skb->ifindex;
	out->fields[6] = skb->ingress_ifindex;
	out->fields[7] = skb->priority;
	out->fields[8] = skb->family;
	out->fields[9] = skb->remote_ip4;
	out->fields[10] = skb->local_ip4;
	out->fields[11] = skb->remote_ip6[0] ^ skb->remote_ip6[3];
	out->fields[12] = skb->local_ip6[1] ^ skb->local_ip6[2];
	out->fields[13] = skb->remote_port;
	out->fields[14] = skb->local_port;
	out->fields[15] = end - data;
	out->fields[16] = data + 4 <= end ? *(__u32 *)data : 0;
	out->fields[17] = skb->gso_segs;
	out->fields[18] = skb->gso_size;
	out->times[0] = skb->tstamp;
	out->times[1] = skb->hwtstamp;
	out->answer = bpf_skb_load_bytes(skb, 0, out->bytes, 20);
	skb->mark += 1;
	skb->priority = 77;
	skb->cb[0] += 1;
	skb->tstamp += 1;
	return out->answer == 0;
}

SEC("socket")
int socket_look(struct __sk_buff *skb)
{
	__u32 key = 1;
	struct answer *out = bpf_map_lookup_elem(&answers, &key);

	if (!out)
		return 0;
	out->fields[0] = skb->len;
	out->fields[1] = skb->pkt_type;
	out->fields[2] = skb->mark;
	out->fields[3] = skb->queue_mapping;
	out->fields[4] = skb->protocol;
	out->fields[5] = skb->ifindex;
	out->fields[6] = skb->ingress_ifindex;
	out->fields[7] = skb->priority;
	out->fields[8] = skb->hash;
	out->fields[9] = skb->tc_index;
	out->fields[10] = skb->vlan_present;
	out->fields[11] = skb->cb[2];
	out->fields[12] = skb->napi_id;
	out->answer = bpf_skb_load_bytes(skb, 2, out->bytes, 16);
	out->fields[13] = bpf_skb_load_bytes_relative(skb, 0, out->bytes + 16, 12, BPF_HDR_START_MAC);
	skb->cb[2] = 0x1234;
	return skb->len;
}

unsigned long long load_byte(void *skb, unsigned long long off) asm("llvm.bpf.load.byte");
unsigned long long load_half(void *skb, unsigned long long off) asm("llvm.bpf.load.half");
unsigned long long load_word(void *skb, unsigned long long off) asm("llvm.bpf.load.word");

SEC("socket")
int socket_load(struct __sk_buff *skb)
{
	__u64 sum = load_byte(skb, 1);

	sum += load_half(skb, 2) << 8;
	sum += load_word(skb, 4) << 16;
	sum ^= load_word(skb, -0x100000 + 12);
	sum ^= load_half(skb, -0x200000 + 12);
	return sum;
}

SEC("raw_tp/task_rename")
int raw_arguments(struct bpf_raw_tracepoint_args *ctx)
{
	return ctx->args[0] * 3 + ctx->args[2];
}

struct memory {
	__u64 first;
	__u32 second;
	__u8 third;
};

SEC("syscall")
int syscall_memory(struct memory *ctx)
{
	ctx->first += ctx->second;
	ctx->third ^= 0x5a;
	return ctx->first >> 3;
}
