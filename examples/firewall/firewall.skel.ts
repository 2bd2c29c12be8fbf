/**
 * Made by effect-bpf gen skeleton --lang ts: firewall. Changes are lost when it is made again.
 */
import * as Skeleton from "../../src/skeleton.ts"

/** `enum action`: a value without a name is its number. */
export type action = "ACTION_ALLOW" | "ACTION_DENY" | number
const $values_action = {
  ACTION_ALLOW: 0,
  ACTION_DENY: 1
} as const
const $name_action = (value: number): action => {
  switch (value) {
    case 0:
      return "ACTION_ALLOW"
    case 1:
      return "ACTION_DENY"
    default:
      return value
  }
}
/** The codec of `enum action`. */
export const action: Skeleton.LayoutCodec.EnumCodec<action, typeof $values_action> = Skeleton.LayoutCodec.enumeration<action, typeof $values_action>(
  "enum action",
  4,
  true,
  $values_action,
  (view, at) => $name_action(view.getUint32(at, true)),
  (to, at, value, name) => to.named(at, 0, 32, false, $values_action, value, name)
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

/** `struct network`, 20 bytes. */
export interface network {
  /** `__u32 prefix`, at byte 0 */
  readonly prefix: number
  /** `__u8 address[16]`, at byte 4 */
  readonly address: Uint8Array
}
const $read_network = (view: DataView, at: number): network => ({
  prefix: view.getUint32(at, true),
  address: Skeleton.LayoutCodec.octets(view, at + 4, 16)
})
const $write_network = (to: Skeleton.LayoutCodec.Writer, at: number, value: Skeleton.LayoutCodec.Parts<network>): void => {
  to.int(at, 4, false, value.prefix, "prefix")
  to.octets(at + 4, 16, false, value.address, "address")
}
/** The codec of `struct network`. */
export const network: Skeleton.LayoutCodec.StructCodec<network> = Skeleton.LayoutCodec.struct<network>(
  "struct network",
  20,
  true,
  {
    prefix: { offset: 0, size: 4 },
    address: { offset: 4, size: 16 }
  },
  $read_network,
  (to, at, value, name) => to.part(at, value, name, $write_network)
)

/** `struct rule`, 24 bytes. */
export interface rule {
  /** `enum action action`, at byte 0 */
  readonly action: action
  /** `__u32 reserved`, at byte 4 */
  readonly reserved: number
  /** `__u64 packets`, at byte 8 */
  readonly packets: bigint
  /** `__u64 bytes`, at byte 16 */
  readonly bytes: bigint
}
const $read_rule = (view: DataView, at: number): rule => ({
  action: $name_action(view.getUint32(at, true)),
  reserved: view.getUint32(at + 4, true),
  packets: view.getBigUint64(at + 8, true),
  bytes: view.getBigUint64(at + 16, true)
})
const $write_rule = (to: Skeleton.LayoutCodec.Writer, at: number, value: Skeleton.LayoutCodec.Parts<rule>): void => {
  to.named(at, 0, 32, false, $values_action, value.action, "action")
  to.int(at + 4, 4, false, value.reserved, "reserved")
  to.int(at + 8, 8, false, value.packets, "packets")
  to.int(at + 16, 8, false, value.bytes, "bytes")
}
/** The codec of `struct rule`. */
export const rule: Skeleton.LayoutCodec.StructCodec<rule> = Skeleton.LayoutCodec.struct<rule>(
  "struct rule",
  24,
  true,
  {
    action: { offset: 0, size: 4 },
    reserved: { offset: 4, size: 4 },
    packets: { offset: 8, size: 8 },
    bytes: { offset: 16, size: 8 }
  },
  $read_rule,
  (to, at, value, name) => to.part(at, value, name, $write_rule)
)

/** The variables of .bss. */
export interface Bss {
  /** `enum action otherwise` */
  otherwise: action
  /** `__u64 denied` */
  denied: __u64
  /** `__u64 allowed` */
  allowed: __u64
}
const $section_bss: Skeleton.Section<Bss> = Skeleton.variables(".bss", {
  otherwise: Skeleton.variable("otherwise", 0, action),
  denied: Skeleton.variable("denied", 8, __u64),
  allowed: Skeleton.variable("allowed", 16, __u64)
})

/** The maps of the loaded object. */
export interface Maps {
  readonly rules: Skeleton.LpmTrie<network, rule>
  readonly bss: Skeleton.MapHandle
}

/** The programs of the loaded object. */
export interface Programs {
  /** `SEC("xdp")` */
  readonly firewall: Skeleton.Attachable<Skeleton.XdpTarget>
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
  name: "firewall",
  object: Skeleton.beside("firewall.bpf.o", import.meta),
  layouts: {
    "struct network": "efc7fcfc267ab459",
    "struct rule": "bd23afec656d0ce4",
    "enum action": "6028f242e1840952"
  },
  maps: {
    rules: Skeleton.lpmTrie("rules", network, rule),
    bss: Skeleton.plain(".bss", 2, 4)
  },
  programs: {
    firewall: Skeleton.attachable("firewall", Skeleton.xdp)
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
