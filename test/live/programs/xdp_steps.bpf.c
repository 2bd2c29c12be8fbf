// Helpers on packets under XDP, with every field of the context after each call.
#include "steps.h"

struct {
	__uint(type, BPF_MAP_TYPE_DEVMAP);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, __u32);
} devices SEC(".maps");

static __always_inline void look(struct xdp_md *xdp, struct answer *out)
{
	__u8 *data = (void *)(long)xdp->data;
	__u8 *end = (void *)(long)xdp->data_end;
	__u8 *meta = (void *)(long)xdp->data_meta;

	out->fields[0] = end - data;
	out->fields[1] = data - meta;
	out->fields[2] = xdp->ingress_ifindex;
	out->fields[3] = xdp->rx_queue_index;
	out->fields[4] = bpf_xdp_get_buff_len(xdp);
	out->fields[5] = data + 1 <= end ? data[0] : 256;
	out->fields[6] = meta + 1 <= data ? meta[0] : 256;
}

static __always_inline __s64 perform(struct xdp_md *xdp, struct step *in, struct answer *out)
{
	__u32 size = in->size;
	__u64 a = in->a;
	__u8 *data, *end;

	opaque(size);
	size &= BYTES - 1;
	switch (in->op) {
	case 0:
		return bpf_xdp_adjust_head(xdp, a);
	case 1:
		return bpf_xdp_adjust_meta(xdp, a);
	case 2:
		return bpf_xdp_adjust_tail(xdp, a);
	case 3:
		return size == 0 ? 0 : bpf_xdp_load_bytes(xdp, a, out->bytes, size);
	case 4:
		return size == 0 ? 0 : bpf_xdp_store_bytes(xdp, a, in->bytes, size);
	case 5:
		return bpf_redirect(a, in->b);
	case 6:
		return bpf_redirect_map(&devices, a, in->b);
	case 7:
		data = (void *)(long)xdp->data;
		end = (void *)(long)xdp->data_end;
		if (data + size + 1 > end)
			return -1;
		data[size] ^= a;
		return data[size];
	case 8:
		data = (void *)(long)xdp->data_meta;
		end = (void *)(long)xdp->data;
		if (data + size + 1 > end)
			return -1;
		data[size] ^= a;
		return data[size];
	}
	return 99;
}

SEC("xdp.frags")
int xdp_steps(struct xdp_md *xdp)
{
	__s64 last = 0;

	for (int i = 0; i < STEPS; i++) {
		__u32 key = i;
		struct step *in = bpf_map_lookup_elem(&steps, &key);
		struct answer *out = bpf_map_lookup_elem(&answers, &key);

		if (!in || !out)
			return -1;
		last = out->answer = perform(xdp, in, out);
		look(xdp, out);
	}
	return last;
}
