#define _GNU_SOURCE
#include "pretend.h"

#include <stdlib.h>
#include <string.h>

#include <linux/btf.h>

static const void *pointer(__u64 address)
{
	return (const void *)(unsigned long)address;
}

static const char *without; // null until it has been asked for

bool pretending(void)
{
	if (!without)
		without = getenv("LIBBPF_PEER_WITHOUT") ?: "";
	return without[0];
}

static bool lacks(const char *feature)
{
	size_t length = strlen(feature);

	for (const char *at = strstr(without, feature); at; at = strstr(at + 1, feature))
		if ((at == without || at[-1] == ',') && (at[length] == ',' || !at[length]))
			return true;
	return false;
}

// libbpf's probes are the only blobs with so few and so short strings.
static const char *btf_probe(const void *blob, __u32 size)
{
	static const struct {
		const char *strings;
		__u32 length; // of the start that tells
		const char *feature;
	} known[] = {
		{ "\0int\0x\0a", 9, "BTF_FUNC" }, // or BTF_GLOBAL_FUNC
		{ "\0int", 5, "BTF" },
		{ "\0x\0.data", 9, "BTF_DATASEC" },
		{ "\0x\0?.data", 10, "BTF_QMARK_DATASEC" },
		{ "\0float", 7, "BTF_FLOAT" },
		{ "\0tag", 5, "BTF_DECL_TAG" }, // or BTF_TYPE_TAG
		{ "\0enum64", 8, "BTF_ENUM64" },
		{ "\0a\0b\0arg:ctx", 13, "ARG_CTX_TAG" },
	};
	const struct btf_header *header = blob;
	const char *types = (const char *)blob + header->hdr_len, *strings = types + header->str_off;
	const struct btf_type *type;

	if (size > 256 || header->str_len > 32)
		return NULL;
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		if (header->str_len < known[i].length || memcmp(strings, known[i].strings, known[i].length))
			continue;
		if (!strcmp(known[i].feature, "BTF_FUNC")) {
			// int, its prototype with one parameter, the function
			type = (const void *)(types + 16 + 20);
			return BTF_INFO_VLEN(type->info) ? "BTF_GLOBAL_FUNC" : "BTF_FUNC";
		}
		if (!strcmp(known[i].feature, "BTF_DECL_TAG")) {
			// int, then a variable or the tag
			type = (const void *)(types + 16);
			return BTF_INFO_KIND(type->info) == BTF_KIND_TYPE_TAG ? "BTF_TYPE_TAG" : "BTF_DECL_TAG";
		}
		return known[i].feature;
	}
	return NULL;
}

static const char *program_probe(const union bpf_attr *attr)
{
	const struct bpf_insn *insns = pointer(attr->insns);
	const struct bpf_insn *last = insns + attr->insn_cnt - 1;
	bool trivial = attr->insn_cnt == 2 && insns[0].code == (BPF_ALU64 | BPF_MOV | BPF_K) && !insns[0].imm;

	// Two functions: the first calls the second, which calls bpf_get_func_ip().
	if (attr->func_info_cnt == 2 && attr->insn_cnt <= 6 && insns[0].code == (BPF_JMP | BPF_CALL))
		for (const struct bpf_insn *insn = insns + 1; insn <= last; insn++)
			if (insn->code == (BPF_JMP | BPF_CALL) && insn->imm == 173)
				return "ARG_CTX_TAG";
	if (attr->prog_btf_fd)
		return NULL;
	if (trivial && !strcmp(attr->prog_name, "libbpf_nametest"))
		return "PROG_NAME";
	// An object's programs have names, where the kernel takes any.
	if (attr->prog_name[0])
		return NULL;
	if (trivial && attr->expected_attach_type == BPF_CGROUP_INET_SOCK_CREATE)
		return "EXP_ATTACH_TYPE";
	if (trivial && attr->prog_type == BPF_PROG_TYPE_KPROBE && attr->expected_attach_type == 48)
		return "UPROBE_MULTI_LINK";
	if (trivial)
		return "TRIVIAL";
	if (attr->insn_cnt == 5 && insns[0].code == (BPF_LD | BPF_IMM | BPF_DW) && insns[1].imm == 16)
		return "GLOBAL_DATA";
	if (attr->insn_cnt == 6 && insns[4].imm == 113 && last->code == (BPF_JMP | BPF_EXIT))
		return "PROBE_READ_KERN";
	if (attr->insn_cnt == 2 && insns[0].imm == 160)
		return "MEMCG_ACCOUNT";
	if (attr->insn_cnt == 2 && insns[0].imm == 174)
		return "BPF_COOKIE";
	return NULL;
}

static const char *map_probe(const union bpf_attr *attr)
{
	bool named = attr->map_name[0];

	if (named && strncmp(attr->map_name, "libbpf_", 7))
		return NULL;
	if (attr->map_type != BPF_MAP_TYPE_ARRAY || attr->key_size != 4 || attr->max_entries != 1 || attr->btf_fd)
		return NULL;
	if (attr->map_flags == BPF_F_MMAPABLE && attr->value_size == 4)
		return "ARRAY_MMAP";
	return !attr->map_flags && attr->value_size == 32 ? "GLOBAL_DATA or PROG_BIND_MAP" : NULL;
}

const char *pretend_probe(int command, const union bpf_attr *attr)
{
	switch (command) {
	case BPF_BTF_LOAD:
		return btf_probe(pointer(attr->btf), attr->btf_size);
	case BPF_PROG_LOAD:
		return program_probe(attr);
	case BPF_MAP_CREATE:
		return map_probe(attr);
	default:
		return NULL;
	}
}

bool pretend_refuses(int command, const union bpf_attr *attr)
{
	static bool bound; // the first is the probe
	const char *probe = pretending() ? pretend_probe(command, attr) : NULL;

	if (pretending() && command == BPF_PROG_BIND_MAP && !bound) {
		bound = true;
		probe = "PROG_BIND_MAP";
	}
	return probe && lacks(probe);
}
