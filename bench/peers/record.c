#define _GNU_SOURCE
#include "record.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/btf.h>

#include "json.h"
#include "pretend.h"
#include "timing.h"

static struct bpf_object *object; // being loaded, null outside of that; its names tell probes apart

// ---- What descriptors are --------------------------------------------------------------------------------------------

#define MAX_FD 65536

struct descriptor {
	char name[128];
	bool probe;
	__u32 map_type, key_size, value_size; // of maps
};

static struct descriptor *descriptors[MAX_FD];

static const struct descriptor *known(int fd)
{
	return fd >= 0 && fd < MAX_FD ? descriptors[fd] : NULL;
}

static struct descriptor *remember(long fd, bool probe, const char *kind, const char *name)
{
	struct descriptor *entry;

	if (fd < 0 || fd >= MAX_FD)
		return NULL;
	if (!descriptors[fd])
		descriptors[fd] = malloc(sizeof(*descriptors[fd]));
	entry = descriptors[fd];
	if (!entry)
		abort();
	memset(entry, 0, sizeof(*entry));
	entry->probe = probe;
	if (probe)
		strcpy(entry->name, "probe");
	else
		snprintf(entry->name, sizeof(entry->name), "%s%s", kind, name);
	return entry;
}

static void put_fd(const char *name, int fd)
{
	const struct descriptor *entry = known(fd);

	put_string(name, entry ? entry->name : NULL);
}

static bool is_probe_map(const union bpf_attr *attr)
{
	const char *name = attr->map_name;

	if (pretending() && !name[0])
		return pretend_probe(BPF_MAP_CREATE, attr) != NULL;
	return !name[0] || !strncmp(name, "libbpf_", 7);
}

// The kernel's names are cut.
static bool is_probe_program(const union bpf_attr *attr)
{
	const char *name = attr->prog_name;
	struct bpf_program *program;

	if (pretending() && !name[0])
		return pretend_probe(BPF_PROG_LOAD, attr) != NULL;
	bpf_object__for_each_program(program, object)
		if (!strncmp(bpf_program__name(program), name, BPF_OBJ_NAME_LEN - 1))
			return false;
	return true;
}

static bool is_probe_btf(const union bpf_attr *attr)
{
	const struct btf *btf = bpf_object__btf(object);
	__u32 object_size = 0;

	if (pretending())
		return pretend_probe(BPF_BTF_LOAD, attr) != NULL;
	if (btf)
		btf__raw_data(btf, &object_size);
	return attr->btf_size != object_size;
}

static bool is_probe_fd(int fd)
{
	const struct descriptor *entry = known(fd);

	return entry && entry->probe;
}

// ---- Calls -----------------------------------------------------------------------------------------------------------

static const char *const command_names[] = {
	"MAP_CREATE", "MAP_LOOKUP_ELEM", "MAP_UPDATE_ELEM", "MAP_DELETE_ELEM", "MAP_GET_NEXT_KEY", "PROG_LOAD",
	"OBJ_PIN", "OBJ_GET", "PROG_ATTACH", "PROG_DETACH", "PROG_TEST_RUN", "PROG_GET_NEXT_ID", "MAP_GET_NEXT_ID",
	"PROG_GET_FD_BY_ID", "MAP_GET_FD_BY_ID", "OBJ_GET_INFO_BY_FD", "PROG_QUERY", "RAW_TRACEPOINT_OPEN", "BTF_LOAD",
	"BTF_GET_FD_BY_ID", "TASK_FD_QUERY", "MAP_LOOKUP_AND_DELETE_ELEM", "MAP_FREEZE", "BTF_GET_NEXT_ID",
	"MAP_LOOKUP_BATCH", "MAP_LOOKUP_AND_DELETE_BATCH", "MAP_UPDATE_BATCH", "MAP_DELETE_BATCH", "LINK_CREATE",
	"LINK_UPDATE", "LINK_GET_FD_BY_ID", "LINK_GET_NEXT_ID", "ENABLE_STATS", "ITER_CREATE", "LINK_DETACH",
	"PROG_BIND_MAP", "TOKEN_CREATE",
};

static const void *pointer(__u64 address)
{
	return (const void *)(unsigned long)address;
}

// The maps that instructions refer to: [{at: instruction, fd: number in imm, map: name}].
static void put_map_references(const struct bpf_insn *insns, __u32 count)
{
	key("map_references");
	begin('[');
	for (__u32 at = 0; at + 1 < count; at++) {
		if (insns[at].code != (BPF_LD | BPF_IMM | BPF_DW))
			continue;
		if (insns[at].src_reg == BPF_PSEUDO_MAP_FD || insns[at].src_reg == BPF_PSEUDO_MAP_VALUE) {
			begin('{');
			put_number("at", at);
			put_number("fd", insns[at].imm);
			put_fd("map", insns[at].imm);
			end('}');
		}
		at++;
	}
	end(']');
}

static void record_map_create(const union bpf_attr *attr, long result)
{
	bool probe = is_probe_map(attr);
	struct descriptor *entry = remember(result, probe, "map:", attr->map_name);

	if (entry) {
		entry->map_type = attr->map_type;
		entry->key_size = attr->key_size;
		entry->value_size = attr->value_size;
	}
	put_boolean("probe", probe);
	put_string("name", attr->map_name);
	put_number("map_type", attr->map_type);
	put_number("key_size", attr->key_size);
	put_number("value_size", attr->value_size);
	put_number("max_entries", attr->max_entries);
	put_number("map_flags", attr->map_flags);
	put_u64("map_extra", attr->map_extra);
	put_number("numa_node", attr->numa_node);
	put_number("ifindex", attr->map_ifindex);
	put_fd("inner_map", attr->inner_map_fd ? (int)attr->inner_map_fd : -1);
	put_fd("btf", attr->btf_fd ? (int)attr->btf_fd : -1);
	put_number("btf_key_type_id", attr->btf_key_type_id);
	put_number("btf_value_type_id", attr->btf_value_type_id);
	put_number("btf_vmlinux_value_type_id", attr->btf_vmlinux_value_type_id);
}

static void record_prog_load(const union bpf_attr *attr, long result)
{
	bool probe = is_probe_program(attr);

	remember(result, probe, "prog:", attr->prog_name);
	put_boolean("probe", probe);
	put_string("name", attr->prog_name);
	put_number("prog_type", attr->prog_type);
	put_number("expected_attach_type", attr->expected_attach_type);
	put_string("license", pointer(attr->license));
	put_number("prog_flags", attr->prog_flags);
	put_number("kern_version", attr->kern_version);
	put_number("ifindex", attr->prog_ifindex);
	put_number("attach_btf_id", attr->attach_btf_id);
	put_fd("attach_to", attr->attach_prog_fd ? (int)attr->attach_prog_fd : -1);
	put_number("log_level", attr->log_level);
	put_fd("btf", attr->prog_btf_fd ? (int)attr->prog_btf_fd : -1);
	put_number("func_info_rec_size", attr->func_info_rec_size);
	put_hex("func_info", pointer(attr->func_info), (size_t)attr->func_info_rec_size * attr->func_info_cnt);
	put_number("line_info_rec_size", attr->line_info_rec_size);
	put_hex("line_info", pointer(attr->line_info), (size_t)attr->line_info_rec_size * attr->line_info_cnt);
	put_boolean("fd_array", attr->fd_array != 0);
	put_hex("insns", pointer(attr->insns), (size_t)attr->insn_cnt * sizeof(struct bpf_insn));
	put_map_references(pointer(attr->insns), attr->insn_cnt);
}

static void record_map_update(const union bpf_attr *attr)
{
	const struct descriptor *map = known(attr->map_fd);

	put_boolean("probe", is_probe_fd(attr->map_fd));
	put_fd("map", attr->map_fd);
	put_u64("flags", attr->flags);
	if (!map)
		return;
	put_hex("key", pointer(attr->key), map->key_size);
	put_hex("value", pointer(attr->value), map->value_size);
	if (map->map_type == BPF_MAP_TYPE_ARRAY_OF_MAPS || map->map_type == BPF_MAP_TYPE_HASH_OF_MAPS ||
	    map->map_type == BPF_MAP_TYPE_PROG_ARRAY)
		put_fd("refers_to", *(const int *)pointer(attr->value));
}

static void record(int command, const union bpf_attr *attr, long result, int error)
{
	size_t names = sizeof(command_names) / sizeof(command_names[0]);
	char path[140];

	begin('{');
	put_string("command", command >= 0 && (size_t)command < names ? command_names[command] : "UNKNOWN");
	put_number("result", result < 0 ? -error : result);
	switch (command) {
	case BPF_MAP_CREATE:
		record_map_create(attr, result);
		break;
	case BPF_PROG_LOAD:
		record_prog_load(attr, result);
		break;
	case BPF_BTF_LOAD:
		put_boolean("probe", is_probe_btf(attr));
		put_hex("btf", pointer(attr->btf), attr->btf_size);
		put_number("log_level", attr->btf_log_level);
		remember(result, is_probe_btf(attr), "btf", "");
		break;
	case BPF_MAP_UPDATE_ELEM:
		record_map_update(attr);
		break;
	case BPF_MAP_FREEZE:
		put_boolean("probe", is_probe_fd(attr->map_fd));
		put_fd("map", attr->map_fd);
		break;
	case BPF_OBJ_PIN:
		put_boolean("probe", false);
		put_fd("pinned", attr->bpf_fd);
		put_string("path", pointer(attr->pathname));
		break;
	case BPF_OBJ_GET:
		put_boolean("probe", false);
		put_string("path", pointer(attr->pathname));
		snprintf(path, sizeof(path), "pin:%s", (const char *)pointer(attr->pathname));
		remember(result, false, path, "");
		break;
	case BPF_PROG_BIND_MAP:
		put_boolean("probe", is_probe_fd(attr->prog_bind_map.map_fd));
		put_fd("prog", attr->prog_bind_map.prog_fd);
		put_fd("map", attr->prog_bind_map.map_fd);
		break;
	case BPF_OBJ_GET_INFO_BY_FD:
		put_boolean("probe", is_probe_fd(attr->info.bpf_fd));
		put_fd("of", attr->info.bpf_fd);
		break;
	case BPF_LINK_CREATE:
		put_boolean("probe", is_probe_fd(attr->link_create.prog_fd));
		put_fd("prog", attr->link_create.prog_fd);
		put_number("attach_type", attr->link_create.attach_type);
		break;
	default:
		put_boolean("probe", false);
		break;
	}
	end('}');
}

void record_begin(struct bpf_object *loading)
{
	object = loading;
}

void record_end(void)
{
	object = NULL;
}

// libbpf moves descriptors of maps to numbers of its own: of adopted pins, since 1.4 of all.
static void moved(int from, int to)
{
	const struct descriptor *entry = known(from);
	struct descriptor *copy = entry ? remember(to, false, "", "") : NULL;

	if (copy)
		*copy = *entry;
}

static long long inside, loading;

long long record_inside(void)
{
	return inside;
}

long long record_loading(void)
{
	return loading;
}

static union bpf_attr passed(const long *argument)
{
	size_t size = argument[2];
	union bpf_attr attr = {}; // fields that the caller did not pass are zero for the kernel, too

	memcpy(&attr, (const void *)argument[1], size < sizeof(attr) ? size : sizeof(attr));
	return attr;
}

static bool refused(const long *argument)
{
	union bpf_attr attr = passed(argument);

	return pretend_refuses(argument[0], &attr);
}

// In place of the C library's: libbpf's calls come here.
long syscall(long number, ...)
{
	static long (*real)(long, ...);
	long argument[6], result;
	va_list list;

	if (!real)
		real = dlsym(RTLD_NEXT, "syscall");
	va_start(list, number);
	for (int i = 0; i < 6; i++)
		argument[i] = va_arg(list, long);
	va_end(list);

	if (number == __NR_bpf && pretending() && refused(argument)) {
		result = -1;
		errno = EINVAL;
	} else if (number == __NR_bpf) {
		double start = time_now();
		long long took;

		result = real(number, argument[0], argument[1], argument[2], argument[3], argument[4], argument[5]);
		took = time_now() - start;
		inside += took;
		if (argument[0] == BPF_PROG_LOAD)
			loading += took;
	} else {
		result = real(number, argument[0], argument[1], argument[2], argument[3], argument[4], argument[5]);
	}
	if (object && number == __NR_bpf) {
		int error = errno;
		union bpf_attr attr = passed(argument);

		record(argument[0], &attr, result, error);
		errno = error;
	} else if (object && number == __NR_dup3 && result >= 0) {
		moved(argument[0], argument[1]);
	}
	return result;
}

int dup3(int from, int to, int flags)
{
	return syscall(__NR_dup3, from, to, flags);
}
