/**
 * Made by effect-bpf gen skeleton --lang ts: tcplatency. Changes are lost when it is made again.
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

/** `struct start`, 32 bytes. */
export interface start {
  /** `__u64 time`, at byte 0 */
  readonly time: bigint
  /** `__u32 pid`, at byte 8 */
  readonly pid: number
  /** `char command[16]`, at byte 12 */
  readonly command: string | Uint8Array
}
const $read_start = (view: DataView, at: number): start => ({
  time: view.getBigUint64(at, true),
  pid: view.getUint32(at + 8, true),
  command: Skeleton.LayoutCodec.text(view, at + 12, 16)
})
const $write_start = (to: Skeleton.LayoutCodec.Writer, at: number, value: Skeleton.LayoutCodec.Parts<start>): void => {
  to.int(at, 8, false, value.time, "time")
  to.int(at + 8, 4, false, value.pid, "pid")
  to.text(at + 12, 16, false, value.command, "command")
}
/** The codec of `struct start`. */
export const start: Skeleton.LayoutCodec.StructCodec<start> = Skeleton.LayoutCodec.struct<start>(
  "struct start",
  32,
  true,
  {
    time: { offset: 0, size: 8 },
    pid: { offset: 8, size: 4 },
    command: { offset: 12, size: 16 }
  },
  $read_start,
  (to, at, value, name) => to.part(at, value, name, $write_start)
)

/** `struct connection`, 56 bytes. */
export interface connection {
  /** `__u32 pid`, at byte 0 */
  readonly pid: number
  /** `__u16 family`, at byte 4 */
  readonly family: number
  /** `__u16 port`, at byte 6 */
  readonly port: number
  /** `__u64 nanoseconds`, at byte 8 */
  readonly nanoseconds: bigint
  /** `char command[16]`, at byte 16 */
  readonly command: string | Uint8Array
  /** `__u8 address[16]`, at byte 32 */
  readonly address: Uint8Array
  /** `_Bool established`, at byte 48 */
  readonly established: boolean
}
const $read_connection = (view: DataView, at: number): connection => ({
  pid: view.getUint32(at, true),
  family: view.getUint16(at + 4, true),
  port: view.getUint16(at + 6, true),
  nanoseconds: view.getBigUint64(at + 8, true),
  command: Skeleton.LayoutCodec.text(view, at + 16, 16),
  address: Skeleton.LayoutCodec.octets(view, at + 32, 16),
  established: view.getUint8(at + 48) !== 0
})
const $write_connection = (to: Skeleton.LayoutCodec.Writer, at: number, value: Skeleton.LayoutCodec.Parts<connection>): void => {
  to.int(at, 4, false, value.pid, "pid")
  to.int(at + 4, 2, false, value.family, "family")
  to.int(at + 6, 2, false, value.port, "port")
  to.int(at + 8, 8, false, value.nanoseconds, "nanoseconds")
  to.text(at + 16, 16, false, value.command, "command")
  to.octets(at + 32, 16, false, value.address, "address")
  to.bool(at + 48, 0, 8, value.established, "established")
}
/** The codec of `struct connection`. */
export const connection: Skeleton.LayoutCodec.StructCodec<connection> = Skeleton.LayoutCodec.struct<connection>(
  "struct connection",
  56,
  true,
  {
    pid: { offset: 0, size: 4 },
    family: { offset: 4, size: 2 },
    port: { offset: 6, size: 2 },
    nanoseconds: { offset: 8, size: 8 },
    command: { offset: 16, size: 16 },
    address: { offset: 32, size: 16 },
    established: { offset: 48, size: 1 }
  },
  $read_connection,
  (to, at, value, name) => to.part(at, value, name, $write_connection)
)

/** The variables of .rodata: constants once they are loaded. */
export interface Rodata {
  /** `volatile const __u64 at_least` */
  at_least: __u64
}
const $section_rodata: Skeleton.Section<Rodata> = Skeleton.constants(".rodata", {
  at_least: Skeleton.variable("at_least", 0, __u64)
})

/** The variables of .bss. */
export interface Bss {
  /** `const struct connection *unused_connection` */
  unused_connection: void_ptr
  /** `__u64 connections_lost` */
  connections_lost: __u64
}
const $section_bss: Skeleton.Section<Bss> = Skeleton.variables(".bss", {
  unused_connection: Skeleton.variable("unused_connection", 0, void_ptr),
  connections_lost: Skeleton.variable("connections_lost", 8, __u64)
})

/** The maps of the loaded object. */
export interface Maps {
  readonly starting: Skeleton.TypedMap<void_ptr, start>
  readonly histogram: Skeleton.ArrayMap<__u64>
  readonly connections: Skeleton.RingBufferMap<connection>
  readonly rodata: Skeleton.MapHandle
  readonly bss: Skeleton.MapHandle
}

/** The programs of the loaded object. */
export interface Programs {
  /** `SEC("tracepoint/sock/inet_sock_set_state")` */
  readonly on_state: Skeleton.SelfAttaching<Skeleton.TracepointTarget>
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
  name: "tcplatency",
  object: Skeleton.beside("tcplatency.bpf.o", import.meta),
  layouts: {
    "struct start": "823266862fed2582",
    "struct connection": "d1a38b295cf0961b"
  },
  maps: {
    starting: Skeleton.table("starting", 9, void_ptr, start),
    histogram: Skeleton.array("histogram", __u64),
    connections: Skeleton.ringBuffer<connection>("connections", [connection]),
    rodata: Skeleton.plain(".rodata", 2, 4),
    bss: Skeleton.plain(".bss", 2, 4)
  },
  programs: {
    on_state: Skeleton.selfAttaching("on_state", Skeleton.tracepoint)
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
