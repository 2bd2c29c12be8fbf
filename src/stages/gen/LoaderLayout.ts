/**
 * Where everything is that a loader program touches: its context, its stack, and the start of its data.
 *
 * The layout is libbpf's, so that runners written for libbpf's light skeletons run our loaders, and the other way round.
 * All numbers are bytes.
 *
 * Source: reference page `gen-loader`, section 1; libbpf's `skel_internal.h`.
 */

/** Maps that a loader can create: it keeps their descriptors in the first slots of `fd_array`. */
export const MAX_MAPS = 64

/** Programs whose descriptors a loader keeps on its stack; those of further ones are in its data. */
export const STACK_PROGRAMS = 32

/** Slots of `fd_array` for BTF of modules, behind those of maps. */
export const MODULE_SLOTS = 256

/** Where the slot of this number is among those for BTF of modules: bytes of the data. */
export const moduleSlot = (number: number): number => 4 * (MAX_MAPS + number)

/** Size of `fd_array`, which is at the start of the data: a 4-byte descriptor per slot. */
export const FD_ARRAY_SIZE: number = 4 * (MAX_MAPS + MODULE_SLOTS)

/** Stack of a loader. */
export const STACK_SIZE: number = 4 * (2 + STACK_PROGRAMS)

/** Instructions that a kernel takes of one program: `BPF_COMPLEXITY_LIMIT_INSNS`. */
export const MAX_CODE = 1_000_000

/** Where the descriptor of the object's BTF is, from the frame pointer. */
export const STACK_BTF_FD: number = -STACK_SIZE

/** Where the descriptor of a map is that only gives its shape to others, from the frame pointer. */
export const STACK_TEMPLATE_FD: number = -STACK_SIZE + 4

/** Where the descriptor of the program of this number is, from the frame pointer. */
export const stackProgFd = (program: number): number => -STACK_SIZE + 8 + 4 * program

/** Size of the part of the context that all loaders have: `struct bpf_loader_ctx`. */
export const CONTEXT_HEADER_SIZE = 24

/** The fields of `struct bpf_loader_ctx`; `LOG_BUF` is the address of memory of the calling process, or 0. */
export const Context = { SIZE: 0, FLAGS: 4, LOG_LEVEL: 8, LOG_SIZE: 12, LOG_BUF: 16 } as const

/** Bit of the context's flags: initial values are in kernel memory, not in that of the calling process. */
export const BPF_SKEL_KERNEL = 1

/** Size of what the context says of a map: `struct bpf_map_desc`. */
export const MAP_DESCRIPTOR_SIZE = 16

/** The fields of `struct bpf_map_desc`: the first is written by the loader, the others are read unless they are 0. */
export const MapDescriptor = { MAP_FD: 0, MAX_ENTRIES: 4, INITIAL_VALUE: 8 } as const

/** Size of what the context says of a program: `struct bpf_prog_desc`, a descriptor that the loader writes. */
export const PROG_DESCRIPTOR_SIZE = 4

/** Where the context speaks of the map of this number. */
export const contextMap = (map: number): number => CONTEXT_HEADER_SIZE + MAP_DESCRIPTOR_SIZE * map

/** Where the context speaks of the program of this number, in a loader of so many maps. */
export const contextProgram = (maps: number, program: number): number =>
  contextMap(maps) + PROG_DESCRIPTOR_SIZE * program

/** The kernel takes no larger context for a run, bytes. */
export const MAX_CONTEXT_SIZE = 0xffff

/** Where the words begin that a loader is told of the machine that it runs on. */
export const contextInputs = (maps: number, programs: number): number => contextProgram(maps, programs)

/** Size of the context of a loader of so many maps and programs, which is told so many 32-bit words. */
export const contextSize = (maps: number, programs: number, words: number = 0): number =>
  contextInputs(maps, programs) + 4 * words

/** The helpers that loaders call, by their ids. */
export const Helper = {
  TRACE_PRINTK: 6,
  PROBE_READ_KERNEL: 113,
  COPY_FROM_USER: 148,
  SYS_BPF: 166,
  BTF_FIND_BY_NAME_KIND: 167,
  SYS_CLOSE: 168,
  KALLSYMS_LOOKUP_NAME: 179
} as const

/** What a loader program is called when it is loaded, and the map that holds its data. */
export const LOADER_PROGRAM_NAME = "__loader.prog"

/** What the map that holds a loader's data is called. */
export const LOADER_MAP_NAME = "__loader.map"

/** The license under which a loader program is loaded. The licenses of the programs that it loads are in its data. */
export const LOADER_LICENSE = "Dual BSD/GPL"
