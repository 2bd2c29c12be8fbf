// A firewall whose rules are changed while it runs: the longest network that has the sender's address decides.

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

enum action {
	ACTION_ALLOW,
	ACTION_DENY,
};

// A network of either family: an IPv4 address is the last four bytes, behind ten of 0 and two of 0xff (::ffff:a.b.c.d).
struct network {
	__u32 prefix; // bits of the address that count
	__u8 address[16];
};

struct rule {
	enum action action;
	__u32 reserved;
	__u64 packets;
	__u64 bytes;
};

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 4096);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct network);
	__type(value, struct rule);
} rules SEC(".maps");

enum action otherwise = ACTION_ALLOW; // where no rule is for the sender
__u64 allowed;
__u64 denied;

// Fills in who has sent the packet; 0 where it is none of IP.
static __always_inline int sender(struct xdp_md *ctx, struct network *from)
{
	void *data = (void *)(long)ctx->data;
	void *end = (void *)(long)ctx->data_end;
	struct ethhdr *ethernet = data;

	if ((void *)(ethernet + 1) > end)
		return 0;
	from->prefix = 128;
	if (ethernet->h_proto == bpf_htons(ETH_P_IP)) {
		struct iphdr *ip = (void *)(ethernet + 1);

		if ((void *)(ip + 1) > end)
			return 0;
		from->address[10] = 0xff;
		from->address[11] = 0xff;
		__builtin_memcpy(from->address + 12, &ip->saddr, 4);
		return 1;
	}
	if (ethernet->h_proto == bpf_htons(ETH_P_IPV6)) {
		struct ipv6hdr *ip = (void *)(ethernet + 1);

		if ((void *)(ip + 1) > end)
			return 0;
		__builtin_memcpy(from->address, &ip->saddr, 16);
		return 1;
	}
	return 0;
}

SEC("xdp")
int firewall(struct xdp_md *ctx)
{
	struct network from = {};
	enum action action = otherwise;
	struct rule *rule;

	if (!sender(ctx, &from))
		return XDP_PASS;
	rule = bpf_map_lookup_elem(&rules, &from);
	if (rule) {
		action = rule->action;
		__sync_fetch_and_add(&rule->packets, 1);
		__sync_fetch_and_add(&rule->bytes, ctx->data_end - ctx->data);
	}
	if (action == ACTION_DENY) {
		__sync_fetch_and_add(&denied, 1);
		return XDP_DROP;
	}
	__sync_fetch_and_add(&allowed, 1);
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
