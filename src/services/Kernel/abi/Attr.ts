/**
 * The memory layouts of bpf(2): `union bpf_attr` per command, and what `BPF_OBJ_GET_INFO_BY_FD` fills in.
 *
 * Fields have their kernel names. A layout's size is what is passed to the kernel: an older kernel takes a longer one as
 * long as the part that it does not know is zero.
 *
 * Source: `include/uapi/linux/bpf.h`.
 */
import { name, pointer, s32, u32, u64 } from "./Arena.ts"
import { BPF_OBJ_NAME_LEN } from "./BpfConstants.ts"

/** `BPF_MAP_CREATE` */
export const MapCreate = {
  size: 92,
  fields: {
    map_type: u32(0),
    key_size: u32(4),
    value_size: u32(8),
    max_entries: u32(12),
    map_flags: u32(16),
    inner_map_fd: u32(20),
    numa_node: u32(24),
    map_name: name(28, BPF_OBJ_NAME_LEN),
    map_ifindex: u32(44),
    btf_fd: u32(48),
    btf_key_type_id: u32(52),
    btf_value_type_id: u32(56),
    btf_vmlinux_value_type_id: u32(60),
    map_extra: u64(64),
    value_type_btf_obj_fd: s32(72),
    map_token_fd: s32(76),
    excl_prog_hash: pointer(80),
    excl_prog_hash_size: u32(88)
  }
} as const

/** `BPF_MAP_LOOKUP_ELEM`, `BPF_MAP_UPDATE_ELEM`, `BPF_MAP_DELETE_ELEM`, `BPF_MAP_LOOKUP_AND_DELETE_ELEM` */
export const MapElement = {
  size: 32,
  fields: { map_fd: u32(0), key: pointer(8), value: pointer(16), flags: u64(24) }
} as const

/** `BPF_MAP_GET_NEXT_KEY` */
export const MapGetNextKey = {
  size: 24,
  fields: { map_fd: u32(0), key: pointer(8), next_key: pointer(16) }
} as const

/** `BPF_MAP_FREEZE` */
export const MapFreeze = { size: 4, fields: { map_fd: u32(0) } } as const

/** `BPF_MAP_LOOKUP_BATCH`, `BPF_MAP_LOOKUP_AND_DELETE_BATCH`, `BPF_MAP_UPDATE_BATCH`, `BPF_MAP_DELETE_BATCH` */
export const MapBatch = {
  size: 56,
  fields: {
    in_batch: pointer(0),
    out_batch: pointer(8),
    keys: pointer(16),
    values: pointer(24),
    count: u32(32),
    map_fd: u32(36),
    elem_flags: u64(40),
    flags: u64(48)
  }
} as const

/** `BPF_PROG_LOAD` */
export const ProgLoad = {
  size: 168,
  fields: {
    prog_type: u32(0),
    insn_cnt: u32(4),
    insns: pointer(8),
    license: pointer(16),
    log_level: u32(24),
    log_size: u32(28),
    log_buf: pointer(32),
    kern_version: u32(40),
    prog_flags: u32(44),
    prog_name: name(48, BPF_OBJ_NAME_LEN),
    prog_ifindex: u32(64),
    expected_attach_type: u32(68),
    prog_btf_fd: u32(72),
    func_info_rec_size: u32(76),
    func_info: pointer(80),
    func_info_cnt: u32(88),
    line_info_rec_size: u32(92),
    line_info: pointer(96),
    line_info_cnt: u32(104),
    attach_btf_id: u32(108),
    /** Also `attach_btf_obj_fd`. */
    attach_prog_fd: u32(112),
    core_relo_cnt: u32(116),
    fd_array: pointer(120),
    core_relos: pointer(128),
    core_relo_rec_size: u32(136),
    log_true_size: u32(140),
    prog_token_fd: s32(144),
    fd_array_cnt: u32(148),
    signature: pointer(152),
    signature_size: u32(160),
    keyring_id: s32(164)
  }
} as const

/** `BPF_OBJ_PIN`, `BPF_OBJ_GET` */
export const ObjectPath = {
  size: 20,
  fields: { pathname: pointer(0), bpf_fd: u32(8), file_flags: u32(12), path_fd: s32(16) }
} as const

/** `BPF_PROG_ATTACH`, `BPF_PROG_DETACH` */
export const ProgAttach = {
  size: 32,
  fields: {
    /** Also `target_ifindex`. */
    target_fd: u32(0),
    attach_bpf_fd: u32(4),
    attach_type: u32(8),
    attach_flags: u32(12),
    replace_bpf_fd: u32(16),
    /** Also `relative_id`. */
    relative_fd: u32(20),
    expected_revision: u64(24)
  }
} as const

/** `BPF_PROG_TEST_RUN` */
export const ProgTestRun = {
  size: 80,
  fields: {
    prog_fd: u32(0),
    retval: u32(4),
    data_size_in: u32(8),
    data_size_out: u32(12),
    data_in: pointer(16),
    data_out: pointer(24),
    repeat: u32(32),
    duration: u32(36),
    ctx_size_in: u32(40),
    ctx_size_out: u32(44),
    ctx_in: pointer(48),
    ctx_out: pointer(56),
    flags: u32(64),
    cpu: u32(68),
    batch_size: u32(72)
  }
} as const

/** `BPF_*_GET_NEXT_ID`; `BPF_PROG_GET_FD_BY_ID`, `BPF_MAP_GET_FD_BY_ID`, `BPF_LINK_GET_FD_BY_ID` */
export const Ids = { size: 12, fields: { start_id: u32(0), next_id: u32(4), open_flags: u32(8) } } as const

/** `BPF_BTF_GET_FD_BY_ID` */
export const BtfGetFdById = {
  size: 16,
  fields: { btf_id: u32(0), next_id: u32(4), open_flags: u32(8), fd_by_id_token_fd: s32(12) }
} as const

/** `BPF_OBJ_GET_INFO_BY_FD` */
export const GetInfo = { size: 16, fields: { bpf_fd: u32(0), info_len: u32(4), info: pointer(8) } } as const

/** `BPF_PROG_QUERY` */
export const ProgQuery = {
  size: 64,
  fields: {
    /** Also `target_ifindex`. */
    target_fd: u32(0),
    attach_type: u32(4),
    query_flags: u32(8),
    attach_flags: u32(12),
    prog_ids: pointer(16),
    count: u32(24),
    prog_attach_flags: pointer(32),
    link_ids: pointer(40),
    link_attach_flags: pointer(48),
    revision: u64(56)
  }
} as const

/** `BPF_RAW_TRACEPOINT_OPEN` */
export const RawTracepointOpen = {
  size: 24,
  fields: { name: pointer(0), prog_fd: u32(8), cookie: u64(16) }
} as const

/** `BPF_BTF_LOAD` */
export const BtfLoad = {
  size: 40,
  fields: {
    btf: pointer(0),
    btf_log_buf: pointer(8),
    btf_size: u32(16),
    btf_log_size: u32(20),
    btf_log_level: u32(24),
    btf_log_true_size: u32(28),
    btf_flags: u32(32),
    btf_token_fd: s32(36)
  }
} as const

/** `BPF_TASK_FD_QUERY` */
export const TaskFdQuery = {
  size: 48,
  fields: {
    pid: u32(0),
    fd: u32(4),
    flags: u32(8),
    buf_len: u32(12),
    buf: pointer(16),
    prog_id: u32(24),
    fd_type: u32(28),
    probe_offset: u64(32),
    probe_addr: u64(40)
  }
} as const

/** Fields that all kinds of `BPF_LINK_CREATE` have. */
const linkCreate = {
  /** Also `map_fd`, for struct_ops. */
  prog_fd: u32(0),
  /** Also `target_ifindex`. */
  target_fd: u32(4),
  attach_type: u32(8),
  flags: u32(12)
} as const

/** `BPF_LINK_CREATE` with nothing but a target, or with the BTF id of the target. */
export const LinkCreate = { size: 64, fields: { ...linkCreate, target_btf_id: u32(16) } } as const

/** `BPF_LINK_CREATE` of an iterator. */
export const LinkCreateIter = {
  size: 64,
  fields: { ...linkCreate, iter_info: pointer(16), iter_info_len: u32(24) }
} as const

/** `BPF_LINK_CREATE` on a perf event. */
export const LinkCreatePerfEvent = { size: 64, fields: { ...linkCreate, bpf_cookie: u64(16) } } as const

/** `BPF_LINK_CREATE` of a kprobe-multi or kprobe-session link. */
export const LinkCreateKprobeMulti = {
  size: 64,
  fields: {
    ...linkCreate,
    kprobe_flags: u32(16),
    cnt: u32(20),
    syms: pointer(24),
    addrs: pointer(32),
    cookies: pointer(40)
  }
} as const

/** `BPF_LINK_CREATE` of a tracing link. */
export const LinkCreateTracing = {
  size: 64,
  fields: { ...linkCreate, target_btf_id: u32(16), cookie: u64(24) }
} as const

/** `BPF_LINK_CREATE` of a netfilter hook. */
export const LinkCreateNetfilter = {
  size: 64,
  fields: { ...linkCreate, pf: u32(16), hooknum: u32(20), priority: s32(24), netfilter_flags: u32(28) }
} as const

/** `BPF_LINK_CREATE` of a link with a place among others: tcx, netkit, cgroup. */
export const LinkCreateOrdered = {
  size: 64,
  fields: {
    ...linkCreate,
    /** Also `relative_id`. */
    relative_fd: u32(16),
    expected_revision: u64(24)
  }
} as const

/** `BPF_LINK_CREATE` of a uprobe-multi or uprobe-session link. */
export const LinkCreateUprobeMulti = {
  size: 64,
  fields: {
    ...linkCreate,
    path: pointer(16),
    offsets: pointer(24),
    ref_ctr_offsets: pointer(32),
    cookies: pointer(40),
    cnt: u32(48),
    uprobe_flags: u32(52),
    pid: u32(56),
    path_fd: u32(60)
  }
} as const

/** `BPF_LINK_CREATE` of a tracing-multi link. */
export const LinkCreateTracingMulti = {
  size: 64,
  fields: { ...linkCreate, ids: pointer(16), cookies: pointer(24), cnt: u32(32) }
} as const

/** `BPF_LINK_UPDATE` */
export const LinkUpdate = {
  size: 16,
  fields: {
    link_fd: u32(0),
    /** Also `new_map_fd`. */
    new_prog_fd: u32(4),
    flags: u32(8),
    /** Also `old_map_fd`. */
    old_prog_fd: u32(12)
  }
} as const

/** `BPF_LINK_DETACH` */
export const LinkDetach = { size: 4, fields: { link_fd: u32(0) } } as const

/** `BPF_ENABLE_STATS` */
export const EnableStats = { size: 4, fields: { type: u32(0) } } as const

/** `BPF_ITER_CREATE` */
export const IterCreate = { size: 8, fields: { link_fd: u32(0), flags: u32(4) } } as const

/** `BPF_PROG_BIND_MAP` */
export const ProgBindMap = { size: 12, fields: { prog_fd: u32(0), map_fd: u32(4), flags: u32(8) } } as const

/** `BPF_TOKEN_CREATE` */
export const TokenCreate = { size: 8, fields: { flags: u32(0), bpffs_fd: u32(4) } } as const

/** `BPF_PROG_STREAM_READ_BY_FD` */
export const ProgStreamRead = {
  size: 24,
  fields: { stream_buf: pointer(0), stream_buf_len: u32(8), stream_id: u32(12), prog_fd: u32(16) }
} as const

/** `BPF_PROG_ASSOC_STRUCT_OPS` */
export const ProgAssocStructOps = {
  size: 12,
  fields: { map_fd: u32(0), prog_fd: u32(4), flags: u32(8) }
} as const

/** `struct bpf_map_info` */
export const MapInfo = {
  size: 104,
  fields: {
    type: u32(0),
    id: u32(4),
    key_size: u32(8),
    value_size: u32(12),
    max_entries: u32(16),
    map_flags: u32(20),
    name: name(24, BPF_OBJ_NAME_LEN),
    ifindex: u32(40),
    btf_vmlinux_value_type_id: u32(44),
    netns_dev: u64(48),
    netns_ino: u64(56),
    btf_id: u32(64),
    btf_key_type_id: u32(68),
    btf_value_type_id: u32(72),
    btf_vmlinux_id: u32(76),
    map_extra: u64(80),
    hash: pointer(88),
    hash_size: u32(96)
  }
} as const

/** `struct bpf_prog_info`; the tag is the 8 bytes at offset 8, `gpl_compatible` bit 0 of `bits`. */
export const ProgInfo = {
  size: 232,
  fields: {
    type: u32(0),
    id: u32(4),
    tag: u64(8),
    jited_prog_len: u32(16),
    xlated_prog_len: u32(20),
    jited_prog_insns: pointer(24),
    xlated_prog_insns: pointer(32),
    load_time: u64(40),
    created_by_uid: u32(48),
    nr_map_ids: u32(52),
    map_ids: pointer(56),
    name: name(64, BPF_OBJ_NAME_LEN),
    ifindex: u32(80),
    bits: u32(84),
    netns_dev: u64(88),
    netns_ino: u64(96),
    nr_jited_ksyms: u32(104),
    nr_jited_func_lens: u32(108),
    jited_ksyms: pointer(112),
    jited_func_lens: pointer(120),
    btf_id: u32(128),
    func_info_rec_size: u32(132),
    func_info: pointer(136),
    nr_func_info: u32(144),
    nr_line_info: u32(148),
    line_info: pointer(152),
    jited_line_info: pointer(160),
    nr_jited_line_info: u32(168),
    line_info_rec_size: u32(172),
    jited_line_info_rec_size: u32(176),
    nr_prog_tags: u32(180),
    prog_tags: pointer(184),
    run_time_ns: u64(192),
    run_cnt: u64(200),
    recursion_misses: u64(208),
    verified_insns: u32(216),
    attach_btf_obj_id: u32(220),
    attach_btf_id: u32(224)
  }
} as const

/** `struct bpf_btf_info` */
export const BtfInfo = {
  size: 32,
  fields: {
    btf: pointer(0),
    btf_size: u32(8),
    id: u32(12),
    name: pointer(16),
    name_len: u32(24),
    kernel_btf: u32(28)
  }
} as const

/** `struct bpf_link_info`: what all kinds of link have; `LinkLayouts` has the rest, which depends on the type. */
export const LinkInfo = { size: 64, fields: { type: u32(0), id: u32(4), prog_id: u32(8) } } as const
