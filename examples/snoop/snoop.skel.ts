/**
 * Made by effect-bpf gen skeleton --lang ts: snoop. Changes are lost when it is made again.
 */
import * as Skeleton from "../../src/skeleton.ts"

/** `__u32`, 4 bytes. */
export type __u32 = number
/** The codec of `__u32`. */
export const __u32: Skeleton.LayoutCodec.LayoutCodec<__u32> = Skeleton.LayoutCodec.make<__u32>(
  "__u32",
  4,
  true,
  (view, at) => view.getUint32(at, true),
  (to, at, value, name) => to.int(at, 4, false, value, name)
)

/** `_Bool`, 1 bytes. */
export type _Bool = boolean
/** The codec of `_Bool`. */
export const _Bool: Skeleton.LayoutCodec.LayoutCodec<_Bool> = Skeleton.LayoutCodec.make<_Bool>(
  "_Bool",
  1,
  true,
  (view, at) => view.getUint8(at) !== 0,
  (to, at, value, name) => to.bool(at, 0, 8, value, name)
)

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

/** `struct exec_event`, 152 bytes. */
export interface exec_event {
  /** `__u32 pid`, at byte 0 */
  readonly pid: number
  /** `__u32 uid`, at byte 4 */
  readonly uid: number
  /** `char command[16]`, at byte 8 */
  readonly command: string | Uint8Array
  /** `char file[128]`, at byte 24 */
  readonly file: string | Uint8Array
}
const $read_exec_event = (view: DataView, at: number): exec_event => ({
  pid: view.getUint32(at, true),
  uid: view.getUint32(at + 4, true),
  command: Skeleton.LayoutCodec.text(view, at + 8, 16),
  file: Skeleton.LayoutCodec.text(view, at + 24, 128)
})
const $write_exec_event = (to: Skeleton.LayoutCodec.Writer, at: number, value: Skeleton.LayoutCodec.Parts<exec_event>): void => {
  to.int(at, 4, false, value.pid, "pid")
  to.int(at + 4, 4, false, value.uid, "uid")
  to.text(at + 8, 16, false, value.command, "command")
  to.text(at + 24, 128, false, value.file, "file")
}
/** The codec of `struct exec_event`. */
export const exec_event: Skeleton.LayoutCodec.StructCodec<exec_event> = Skeleton.LayoutCodec.struct<exec_event>(
  "struct exec_event",
  152,
  true,
  {
    pid: { offset: 0, size: 4 },
    uid: { offset: 4, size: 4 },
    command: { offset: 8, size: 16 },
    file: { offset: 24, size: 128 }
  },
  $read_exec_event,
  (to, at, value, name) => to.part(at, value, name, $write_exec_event)
)

/** `struct open_event`, 280 bytes. */
export interface open_event {
  /** `__u32 pid`, at byte 0 */
  readonly pid: number
  /** `__s32 result`, at byte 4 */
  readonly result: number
  /** `char command[16]`, at byte 8 */
  readonly command: string | Uint8Array
  /** `char file[256]`, at byte 24 */
  readonly file: string | Uint8Array
}
const $read_open_event = (view: DataView, at: number): open_event => ({
  pid: view.getUint32(at, true),
  result: view.getInt32(at + 4, true),
  command: Skeleton.LayoutCodec.text(view, at + 8, 16),
  file: Skeleton.LayoutCodec.text(view, at + 24, 256)
})
const $write_open_event = (to: Skeleton.LayoutCodec.Writer, at: number, value: Skeleton.LayoutCodec.Parts<open_event>): void => {
  to.int(at, 4, false, value.pid, "pid")
  to.int(at + 4, 4, true, value.result, "result")
  to.text(at + 8, 16, false, value.command, "command")
  to.text(at + 24, 256, false, value.file, "file")
}
/** The codec of `struct open_event`. */
export const open_event: Skeleton.LayoutCodec.StructCodec<open_event> = Skeleton.LayoutCodec.struct<open_event>(
  "struct open_event",
  280,
  true,
  {
    pid: { offset: 0, size: 4 },
    result: { offset: 4, size: 4 },
    command: { offset: 8, size: 16 },
    file: { offset: 24, size: 256 }
  },
  $read_open_event,
  (to, at, value, name) => to.part(at, value, name, $write_open_event)
)

/** The variables of .rodata: constants once they are loaded. */
export interface Rodata {
  /** `volatile const __u32 own_pid` */
  own_pid: __u32
  /** `volatile const _Bool failed_only` */
  failed_only: _Bool
}
const $section_rodata: Skeleton.Section<Rodata> = Skeleton.constants(".rodata", {
  own_pid: Skeleton.variable("own_pid", 0, __u32),
  failed_only: Skeleton.variable("failed_only", 4, _Bool)
})

/** The variables of .bss. */
export interface Bss {
  /** `__u64 events_lost` */
  events_lost: __u64
  /** `const struct exec_event *unused_exec_event` */
  unused_exec_event: void_ptr
  /** `const struct open_event *unused_open_event` */
  unused_open_event: void_ptr
}
const $section_bss: Skeleton.Section<Bss> = Skeleton.variables(".bss", {
  events_lost: Skeleton.variable("events_lost", 0, __u64),
  unused_exec_event: Skeleton.variable("unused_exec_event", 8, void_ptr),
  unused_open_event: Skeleton.variable("unused_open_event", 16, void_ptr)
})

/** The maps of the loaded object. */
export interface Maps {
  readonly events: Skeleton.RingBufferMap<exec_event | open_event>
  readonly opening: Skeleton.TypedMap<__u64, void_ptr>
  readonly rodata: Skeleton.MapHandle
  readonly bss: Skeleton.MapHandle
}

/** The programs of the loaded object. */
export interface Programs {
  /** `SEC("tracepoint/sched/sched_process_exec")` */
  readonly on_exec: Skeleton.SelfAttaching<Skeleton.TracepointTarget>
  /** `SEC("tracepoint/syscalls/sys_enter_openat")` */
  readonly on_open: Skeleton.SelfAttaching<Skeleton.TracepointTarget>
  /** `SEC("tracepoint/syscalls/sys_exit_openat")` */
  readonly on_opened: Skeleton.SelfAttaching<Skeleton.TracepointTarget>
}

/** The variables before the load. */
export interface InitialGlobals {
  readonly rodata: Rodata
  readonly bss: Bss
}

/** The variables of the loaded object. */
export interface Globals {
  readonly rodata: Readonly<Rodata>
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
  name: "snoop",
  object: Skeleton.beside("snoop.bpf.o", import.meta),
  layouts: {
    "struct exec_event": "8bf5c591c4a04f36",
    "struct open_event": "90f784e84521b09f"
  },
  maps: {
    events: Skeleton.ringBuffer<exec_event | open_event>("events", [exec_event, open_event]),
    opening: Skeleton.table("opening", 9, __u64, void_ptr),
    rodata: Skeleton.plain(".rodata", 2, 4),
    bss: Skeleton.plain(".bss", 2, 4)
  },
  programs: {
    on_exec: Skeleton.selfAttaching("on_exec", Skeleton.tracepoint),
    on_open: Skeleton.selfAttaching("on_open", Skeleton.tracepoint),
    on_opened: Skeleton.selfAttaching("on_opened", Skeleton.tracepoint)
  },
  initial: {
    rodata: $section_rodata,
    bss: $section_bss
  },
  globals: {
    rodata: $section_rodata,
    bss: $section_bss
  }
})

/** Opens the object. */
export const open: typeof skeleton.open = skeleton.open

/** Opens the object and loads it, for as long as the scope. */
export const load: typeof skeleton.load = skeleton.load
