// Helpers on socket buffers as traffic control calls them, with every field of the context after each call.
#include "steps.h"

static __always_inline void look(struct __sk_buff *skb, struct answer *out)
{
	out->fields[0] = skb->len;
	out->fields[1] = skb->pkt_type;
	out->fields[2] = skb->mark;
	out->fields[3] = skb->queue_mapping;
	out->fields[4] = skb->protocol;
	out->fields[5] = skb->vlan_present;
	out->fields[6] = skb->vlan_tci;
	out->fields[7] = skb->vlan_proto;
	out->fields[8] = skb->priority;
	out->fields[9] = skb->ingress_ifindex;
	out->fields[10] = skb->ifindex;
	out->fields[11] = skb->tc_index;
	out->fields[12] = skb->cb[0] ^ skb->cb[4];
	out->fields[13] = skb->hash;
	out->fields[14] = skb->tc_classid;
	out->fields[15] = (long)skb->data_end - (long)skb->data;
	out->fields[16] = (long)skb->data - (long)skb->data_meta;
	out->fields[17] = skb->napi_id;
	out->fields[18] = skb->wire_len;
	out->fields[19] = skb->gso_segs;
	out->fields[20] = skb->gso_size;
	out->fields[21] = skb->tstamp_type;
	out->fields[22] = *((__u8 *)&skb->mark + 1);
	out->fields[23] = *((__u16 *)&skb->priority + 1);
	out->times[0] = skb->tstamp;
	out->times[1] = skb->hwtstamp;
}

static __always_inline __s64 perform(struct __sk_buff *skb, struct step *in, struct answer *out)
{
	__u32 size = in->size;
	__u64 a = in->a;
	__u8 *data, *end;

	opaque(size);
	size &= BYTES - 1;
	switch (in->op) {
	case 0:
		return size == 0 ? 0 : bpf_skb_load_bytes(skb, a, out->bytes, size);
	case 1:
		return size == 0 ? 0 : bpf_skb_store_bytes(skb, a, in->bytes, size, in->b);
	case 2:
		return size == 0 ? 0 : bpf_skb_load_bytes_relative(skb, a, out->bytes, size, in->b);
	case 3:
		return bpf_skb_pull_data(skb, a);
	case 4:
		return bpf_skb_change_tail(skb, a, in->b);
	case 5:
		return bpf_skb_change_head(skb, a, in->b);
	case 6:
		return bpf_skb_change_proto(skb, a, in->b);
	case 7:
		return bpf_skb_change_type(skb, a);
	case 8:
		return bpf_skb_adjust_room(skb, a, in->b, in->c);
	case 9:
		return bpf_skb_vlan_push(skb, a, in->b);
	case 10:
		return bpf_skb_vlan_pop(skb);
	case 11:
		return bpf_l3_csum_replace(skb, a, in->b, in->c, in->d);
	case 12:
		return bpf_l4_csum_replace(skb, a, in->b, in->c, in->d);
	case 13:
		return bpf_csum_update(skb, a);
	case 14:
		return bpf_csum_level(skb, a);
	case 15:
		return bpf_set_hash(skb, a);
	case 16:
		bpf_set_hash_invalid(skb);
		return 0;
	case 17:
		return bpf_skb_set_tstamp(skb, a, in->b);
	case 18:
		return bpf_redirect(a, in->b);
	case 19:
		return bpf_get_route_realm(skb);
	case 20:
		return bpf_clone_redirect(skb, a | 0x40000000, in->b);
	case 21:
		skb->mark = a;
		skb->priority = in->b;
		skb->tc_index = in->c;
		skb->tc_classid = in->d;
		return 0;
	case 22:
		skb->queue_mapping = a;
		skb->tstamp = in->b;
		return 0;
	case 23:
		skb->cb[1] = a;
		*(__u8 *)&skb->cb[2] = in->b;
		*((__u16 *)&skb->cb[3] + 1) = in->c;
		skb->cb[4] = in->d;
		return 0;
	case 24:
		data = (void *)(long)skb->data;
		end = (void *)(long)skb->data_end;
		if (data + size + 1 > end)
			return -1;
		data[size] ^= a;
		return data[size];
	case 25: {
		struct bpf_tunnel_key key = { .tunnel_id = 7 };
		__s64 answer = bpf_skb_get_tunnel_key(skb, &key, sizeof(key), a);
		return answer + key.tunnel_id;
	}
	case 26:
		return size == 0 ? 0 : bpf_skb_get_tunnel_opt(skb, out->bytes, size);
	}
	return 99;
}

SEC("tc")
int tc_steps(struct __sk_buff *skb)
{
	__s64 last = 0;

	for (int i = 0; i < STEPS; i++) {
		__u32 key = i;
		struct step *in = bpf_map_lookup_elem(&steps, &key);
		struct answer *out = bpf_map_lookup_elem(&answers, &key);

		if (!in || !out)
			return -1;
		last = out->answer = perform(skb, in, out);
		look(skb, out);
	}
	return last;
}
