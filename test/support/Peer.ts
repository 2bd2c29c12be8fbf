/** libbpf as a judge of objects: runs bench/peers/libbpf_peer.c and reads what it prints. */
import * as Schema from "effect/Schema"
import * as Libbpf from "./Libbpf.ts"
import { run } from "./Require.ts"

/** Why libbpf gave up; `name` is the error's name, `log` everything that libbpf said. */
export const Failure = Schema.Struct({
  stage: Schema.String,
  errno: Schema.Number,
  name: Schema.NullOr(Schema.String),
  log: Schema.String
})

const programFields = {
  name: Schema.String,
  section: Schema.String,
  type: Schema.Number,
  expected_attach_type: Schema.Number,
  autoload: Schema.Boolean,
  insn_cnt: Schema.Number,
  insns: Schema.NullOr(Schema.String)
}

const mapFields = {
  name: Schema.String,
  internal: Schema.Boolean,
  type: Schema.Number,
  key_size: Schema.Number,
  value_size: Schema.Number,
  max_entries: Schema.Number,
  map_flags: Schema.Number,
  numa_node: Schema.Number,
  map_extra: Schema.String,
  pin_path: Schema.NullOr(Schema.String),
  btf_key_type_id: Schema.Number,
  btf_value_type_id: Schema.Number,
  autocreate: Schema.Boolean,
  initial_value: Schema.NullOr(Schema.String)
}

/** A program as libbpf opened it; instructions in hexadecimal. */
export const OpenedProgram = Schema.Struct(programFields)
/** A program as libbpf opened it. */
export type OpenedProgram = typeof OpenedProgram.Type

/** A map as libbpf opened it; the initial value in hexadecimal. */
export const OpenedMap = Schema.Struct(mapFields)
/** A map as libbpf opened it. */
export type OpenedMap = typeof OpenedMap.Type

/** What `libbpf_peer open` prints. */
export const Opened = Schema.Struct({
  name: Schema.optionalKey(Schema.String),
  kern_version: Schema.optionalKey(Schema.Number),
  programs: Schema.optionalKey(Schema.Array(OpenedProgram)),
  maps: Schema.optionalKey(Schema.Array(OpenedMap)),
  error: Schema.optionalKey(Failure)
})
/** What `libbpf_peer open` prints. */
export type Opened = typeof Opened.Type

/** A map reference in instructions of a PROG_LOAD. */
const MapReference = Schema.Struct({ at: Schema.Number, fd: Schema.Number, map: Schema.NullOr(Schema.String) })

/** One bpf(2) call of libbpf; fields by command, bytes in hexadecimal, descriptors as `map:NAME`, `prog:NAME`, `btf`. */
export const Call = Schema.Struct({
  command: Schema.String,
  /** Not negative on success, else the negative errno. */
  result: Schema.Number,
  /** Whether the call belongs to a probe of the kernel's features. */
  probe: Schema.Boolean,
  name: Schema.optionalKey(Schema.String),
  map_type: Schema.optionalKey(Schema.Number),
  key_size: Schema.optionalKey(Schema.Number),
  value_size: Schema.optionalKey(Schema.Number),
  max_entries: Schema.optionalKey(Schema.Number),
  map_flags: Schema.optionalKey(Schema.Number),
  map_extra: Schema.optionalKey(Schema.String),
  numa_node: Schema.optionalKey(Schema.Number),
  ifindex: Schema.optionalKey(Schema.Number),
  inner_map: Schema.optionalKey(Schema.NullOr(Schema.String)),
  btf: Schema.optionalKey(Schema.NullOr(Schema.String)),
  btf_key_type_id: Schema.optionalKey(Schema.Number),
  btf_value_type_id: Schema.optionalKey(Schema.Number),
  btf_vmlinux_value_type_id: Schema.optionalKey(Schema.Number),
  prog_type: Schema.optionalKey(Schema.Number),
  expected_attach_type: Schema.optionalKey(Schema.Number),
  license: Schema.optionalKey(Schema.NullOr(Schema.String)),
  prog_flags: Schema.optionalKey(Schema.Number),
  kern_version: Schema.optionalKey(Schema.Number),
  attach_btf_id: Schema.optionalKey(Schema.Number),
  attach_to: Schema.optionalKey(Schema.NullOr(Schema.String)),
  log_level: Schema.optionalKey(Schema.Number),
  func_info_rec_size: Schema.optionalKey(Schema.Number),
  func_info: Schema.optionalKey(Schema.NullOr(Schema.String)),
  line_info_rec_size: Schema.optionalKey(Schema.Number),
  line_info: Schema.optionalKey(Schema.NullOr(Schema.String)),
  fd_array: Schema.optionalKey(Schema.Boolean),
  insns: Schema.optionalKey(Schema.NullOr(Schema.String)),
  map_references: Schema.optionalKey(Schema.Array(MapReference)),
  map: Schema.optionalKey(Schema.NullOr(Schema.String)),
  flags: Schema.optionalKey(Schema.String),
  key: Schema.optionalKey(Schema.NullOr(Schema.String)),
  value: Schema.optionalKey(Schema.NullOr(Schema.String)),
  refers_to: Schema.optionalKey(Schema.NullOr(Schema.String)),
  pinned: Schema.optionalKey(Schema.NullOr(Schema.String)),
  path: Schema.optionalKey(Schema.String),
  prog: Schema.optionalKey(Schema.NullOr(Schema.String)),
  of: Schema.optionalKey(Schema.NullOr(Schema.String)),
  attach_type: Schema.optionalKey(Schema.Number)
})
/** One bpf(2) call of libbpf. */
export type Call = typeof Call.Type

/** What the kernel said of a loaded program. */
export const ProgramInfo = Schema.Struct({
  name: Schema.String,
  type: Schema.Number,
  tag: Schema.String,
  gpl_compatible: Schema.Boolean,
  xlated_prog_len: Schema.Number,
  maps: Schema.Array(Schema.NullOr(Schema.String)),
  has_btf: Schema.Boolean,
  attach_btf_id: Schema.Number,
  ifindex: Schema.Number,
  verified_insns: Schema.Number,
  nr_func_info: Schema.Number,
  func_info: Schema.NullOr(Schema.String),
  nr_line_info: Schema.Number,
  line_info: Schema.NullOr(Schema.String)
})
/** What the kernel said of a loaded program. */
export type ProgramInfo = typeof ProgramInfo.Type

/** What the kernel said of a created map. */
export const MapInfo = Schema.Struct({
  name: Schema.String,
  type: Schema.Number,
  key_size: Schema.Number,
  value_size: Schema.Number,
  max_entries: Schema.Number,
  map_flags: Schema.Number,
  map_extra: Schema.String,
  ifindex: Schema.Number,
  has_btf: Schema.Boolean,
  btf_key_type_id: Schema.Number,
  btf_value_type_id: Schema.Number,
  btf_vmlinux_value_type_id: Schema.Number,
  frozen: Schema.Boolean,
  /** The type of the programs that a program array takes, once it has held one; else -1. */
  owner_prog_type: Schema.Number
})
/** What the kernel said of a created map. */
export type MapInfo = typeof MapInfo.Type

/** What `libbpf_peer insns` prints: the calls, then what they led to. */
export const Loaded = Schema.Struct({
  calls: Schema.optionalKey(Schema.Array(Call)),
  programs: Schema.optionalKey(
    Schema.Array(Schema.Struct({ ...programFields, kernel: Schema.optionalKey(ProgramInfo) }))
  ),
  maps: Schema.optionalKey(
    Schema.Array(
      Schema.Struct({ ...mapFields, fd: Schema.optionalKey(Schema.Number), kernel: Schema.optionalKey(MapInfo) })
    )
  ),
  error: Schema.optionalKey(Failure)
})
/** What `libbpf_peer insns` prints. */
export type Loaded = typeof Loaded.Type

const decodeOpened = Schema.decodeUnknownSync(Opened)
const decodeLoaded = Schema.decodeUnknownSync(Loaded)

const ask = (
  args: ReadonlyArray<string>,
  version: Libbpf.Version = "system",
  env: Readonly<Record<string, string>> = {}
): unknown => {
  const { status, stderr, stdout } = run(Libbpf.program("libbpf_peer", version), args, { env })
  // 1 is libbpf's failure, which the document tells of.
  if (status !== 0 && status !== 1) throw new Error(`libbpf_peer ${args.join(" ")}: status ${status}: ${stderr}`)
  return JSON.parse(stdout)
}

/** What libbpf makes of an object file when it opens it. `args` are further options of the peer. */
export const open = (object: string, args: ReadonlyArray<string> = []): Opened =>
  decodeOpened(ask(["open", object, ...args]))

/** What libbpf sends to the kernel for an object file, and what comes of it. Needs bpf(2). */
export const load = (
  object: string,
  args: ReadonlyArray<string> = [],
  version?: Libbpf.Version,
  env?: Readonly<Record<string, string>>
): Loaded => decodeLoaded(ask(["insns", object, ...args], version, env))

/** Bytes from hexadecimal digits; none from null. */
export const fromHex = (digits: string | null | undefined): Uint8Array =>
  new Uint8Array(Buffer.from(digits ?? "", "hex"))

/** Bytes as hexadecimal digits. */
export const toHex = (bytes: Uint8Array | undefined): string => Buffer.from(bytes ?? []).toString("hex")
