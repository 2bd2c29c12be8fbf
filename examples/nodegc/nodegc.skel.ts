/**
 * Made by effect-bpf gen skeleton --lang ts: nodegc. Changes are lost when it is made again.
 */
import * as Skeleton from "../../src/skeleton.ts"

/** `__u64`, 8 bytes. */
export type __u64 = bigint
/** The codec of `__u64`. */
export const __u64: Skeleton.LayoutCodec.LayoutCodec<__u64> = Skeleton.LayoutCodec.make<__u64>(
  "__u64",
  8,
  true,
  (view, at) => view.getBigUint64(at, true),
  (to, at, value, name) => to.int(at, 8, false, value, name)
)

/** `void *`, 8 bytes. */
export type void_ptr = bigint
/** The codec of `void *`. */
export const void_ptr: Skeleton.LayoutCodec.LayoutCodec<void_ptr> = Skeleton.LayoutCodec.make<void_ptr>(
  "void *",
  8,
  true,
  (view, at) => view.getBigUint64(at, true),
  (to, at, value, name) => to.int(at, 8, false, value, name)
)

/** `enum collector`: a value without a name is its number. */
export type collector = "COLLECTOR_SCAVENGER" | "COLLECTOR_MARK_COMPACTOR" | "COLLECTOR_MINOR_MARK_SWEEPER" | number
const $values_collector = {
  COLLECTOR_SCAVENGER: 0,
  COLLECTOR_MARK_COMPACTOR: 1,
  COLLECTOR_MINOR_MARK_SWEEPER: 2
} as const
const $name_collector = (value: number): collector => {
  switch (value) {
    case 0:
      return "COLLECTOR_SCAVENGER"
    case 1:
      return "COLLECTOR_MARK_COMPACTOR"
    case 2:
      return "COLLECTOR_MINOR_MARK_SWEEPER"
    default:
      return value
  }
}
/** The codec of `enum collector`. */
export const collector: Skeleton.LayoutCodec.EnumCodec<collector, typeof $values_collector> = Skeleton.LayoutCodec.enumeration<collector, typeof $values_collector>(
  "enum collector",
  4,
  true,
  $values_collector,
  (view, at) => $name_collector(view.getUint32(at, true)),
  (to, at, value, name) => to.named(at, 0, 32, false, $values_collector, value, name)
)

/** `struct start`, 16 bytes. */
export interface start {
  /** `__u64 time`, at byte 0 */
  readonly time: bigint
  /** `enum collector collector`, at byte 8 */
  readonly collector: collector
  /** `__u32 reserved`, at byte 12 */
  readonly reserved: number
}
const $read_start = (view: DataView, at: number): start => ({
  time: view.getBigUint64(at, true),
  collector: $name_collector(view.getUint32(at + 8, true)),
  reserved: view.getUint32(at + 12, true)
})
const $write_start = (to: Skeleton.LayoutCodec.Writer, at: number, value: Skeleton.LayoutCodec.Parts<start>): void => {
  to.int(at, 8, false, value.time, "time")
  to.named(at + 8, 0, 32, false, $values_collector, value.collector, "collector")
  to.int(at + 12, 4, false, value.reserved, "reserved")
}
/** The codec of `struct start`. */
export const start: Skeleton.LayoutCodec.StructCodec<start> = Skeleton.LayoutCodec.struct<start>(
  "struct start",
  16,
  true,
  {
    time: { offset: 0, size: 8 },
    collector: { offset: 8, size: 4 },
    reserved: { offset: 12, size: 4 }
  },
  $read_start,
  (to, at, value, name) => to.part(at, value, name, $write_start)
)

/** `struct pause`, 40 bytes. */
export interface pause {
  /** `__u32 pid`, at byte 0 */
  readonly pid: number
  /** `__u32 thread`, at byte 4 */
  readonly thread: number
  /** `__u64 nanoseconds`, at byte 8 */
  readonly nanoseconds: bigint
  /** `enum collector collector`, at byte 16 */
  readonly collector: collector
  /** `char command[16]`, at byte 20 */
  readonly command: string | Uint8Array
}
const $read_pause = (view: DataView, at: number): pause => ({
  pid: view.getUint32(at, true),
  thread: view.getUint32(at + 4, true),
  nanoseconds: view.getBigUint64(at + 8, true),
  collector: $name_collector(view.getUint32(at + 16, true)),
  command: Skeleton.LayoutCodec.text(view, at + 20, 16)
})
const $write_pause = (to: Skeleton.LayoutCodec.Writer, at: number, value: Skeleton.LayoutCodec.Parts<pause>): void => {
  to.int(at, 4, false, value.pid, "pid")
  to.int(at + 4, 4, false, value.thread, "thread")
  to.int(at + 8, 8, false, value.nanoseconds, "nanoseconds")
  to.named(at + 16, 0, 32, false, $values_collector, value.collector, "collector")
  to.text(at + 20, 16, false, value.command, "command")
}
/** The codec of `struct pause`. */
export const pause: Skeleton.LayoutCodec.StructCodec<pause> = Skeleton.LayoutCodec.struct<pause>(
  "struct pause",
  40,
  true,
  {
    pid: { offset: 0, size: 4 },
    thread: { offset: 4, size: 4 },
    nanoseconds: { offset: 8, size: 8 },
    collector: { offset: 16, size: 4 },
    command: { offset: 20, size: 16 }
  },
  $read_pause,
  (to, at, value, name) => to.part(at, value, name, $write_pause)
)

/** The variables of .bss. */
export interface Bss {
  /** `__u64 pauses_lost` */
  pauses_lost: __u64
  /** `const struct pause *unused_pause` */
  unused_pause: void_ptr
}
const $section_bss: Skeleton.Section<Bss> = Skeleton.variables(".bss", {
  pauses_lost: Skeleton.variable("pauses_lost", 0, __u64),
  unused_pause: Skeleton.variable("unused_pause", 8, void_ptr)
})

/** The maps of the loaded object. */
export interface Maps {
  readonly collecting: Skeleton.TypedMap<__u64, start>
  readonly pauses: Skeleton.RingBufferMap<pause>
  readonly bss: Skeleton.MapHandle
}

/** The programs of the loaded object. */
export interface Programs {
  /** `SEC("uprobe")` */
  readonly collection_begins: Skeleton.Attachable<Skeleton.UprobeTarget>
  /** `SEC("uretprobe")` */
  readonly collection_ends: Skeleton.Attachable<Skeleton.UprobeTarget>
}

/** The variables before the load. */
export interface InitialGlobals {
  readonly bss: Bss
}

/** The variables of the loaded object. */
export interface Globals {
  readonly bss: Bss
}

/** The object before the load: what can be changed, and `load`. */
export interface Opened extends Skeleton.Opened<Maps, Programs, InitialGlobals, Globals> {}

/** The loaded object: it lives as long as its scope. */
export interface Loaded extends Skeleton.Loaded<Maps, Programs, Globals> {}

const skeleton: Skeleton.Skeleton<Maps, Programs, InitialGlobals, Globals> = Skeleton.make<
  Maps,
  Programs,
  InitialGlobals,
  Globals
>({
  name: "nodegc",
  object: Skeleton.beside("nodegc.bpf.o", import.meta),
  layouts: {
    "struct start": "b43655c033e27fd0",
    "struct pause": "a5b360f0b34614ba",
    "enum collector": "75e746375610b374"
  },
  maps: {
    collecting: Skeleton.table("collecting", 9, __u64, start),
    pauses: Skeleton.ringBuffer<pause>("pauses", [pause]),
    bss: Skeleton.plain(".bss", 2, 4)
  },
  programs: {
    collection_begins: Skeleton.attachable("collection_begins", Skeleton.uprobe),
    collection_ends: Skeleton.attachable("collection_ends", Skeleton.uprobe)
  },
  initial: {
    bss: $section_bss
  },
  globals: {
    bss: $section_bss
  }
})

/** Opens the object. */
export const open: typeof skeleton.open = skeleton.open

/** Opens the object and loads it, for as long as the scope. */
export const load: typeof skeleton.load = skeleton.load
