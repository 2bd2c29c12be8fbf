/* The programs that hand packets to AF_XDP sockets: what arrives on a queue goes to the socket that the map has for it, all
 * else goes on to the network stack. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_XSKMAP);
	__uint(max_entries, 64);
	__type(key, __u32);
	__type(value, __u32);
} xsks_map SEC(".maps");

/* The flags of bpf_redirect_map() say what happens where the map has no socket: Linux 5.3. */
SEC("xdp") int xsk_redirect(struct xdp_md *ctx)
{
	return bpf_redirect_map(&xsks_map, ctx->rx_queue_index, XDP_PASS);
}

/* The same for packets in several buffers: Linux 5.18. */
SEC("xdp.frags") int xsk_redirect_frags(struct xdp_md *ctx)
{
	return bpf_redirect_map(&xsks_map, ctx->rx_queue_index, XDP_PASS);
}

char _license[] SEC("license") = "MIT";
