/**
 * Maps and programs of a kernel as data, with bpftool's keys in bpftool's order. What does not apply is left out, as there.
 */
import { MapType, mapTypeName, ProgType, progTypeName } from "../../services/Kernel/abi/BpfConstants.ts"
import type { Holder } from "../objects/Holders.ts"
import type { OpenMap, OpenProg } from "../objects/Objects.ts"
import { exact } from "./Exact.ts"
import { pidsJson } from "./HoldersDocument.ts"
import type { Json } from "./Json.ts"

/** Bytes as bpftool writes them: `["0x01","0x00"]`. */
export const hexList = (bytes: Uint8Array): ReadonlyArray<Json> =>
  Array.from(bytes, (byte) => `0x${byte.toString(16).padStart(2, "0")}`)

const progTypes: ReadonlySet<number> = new Set(Object.values(ProgType))
const mapTypes: ReadonlySet<number> = new Set(Object.values(MapType))

/** A type's name, or its number where it has none. */
const typeOr = (known: ReadonlySet<number>, name: (type: number) => string, type: number): Json =>
  known.has(type) ? name(type) : type

/** Something of an object, if it is there. */
const given = (key: string, value: Json | undefined): { readonly [key: string]: Json } =>
  value === undefined ? {} : { [key]: value }

/** Memory: the kernel's newer versions count none for some types, and then say 0. */
const memlock = (bytes: bigint | undefined): Json | undefined => bytes === undefined ? undefined : exact(bytes)

/** One map. */
export const mapJson = (
  { info }: OpenMap,
  pins: ReadonlyArray<string> = [],
  holders: ReadonlyArray<Holder> = []
): { readonly [key: string]: Json } => ({
  id: info.id,
  type: typeOr(mapTypes, mapTypeName, info.type),
  ...given("name", info.name === "" ? undefined : info.name),
  flags: info.flags,
  ...given("dev", info.ifindex === 0 ? undefined : { ifindex: info.ifindex }),
  bytes_key: info.keySize,
  bytes_value: info.valueSize,
  max_entries: info.maxEntries,
  ...given("bytes_memlock", memlock(info.file?.memlock)),
  ...given(
    "owner_prog_type",
    info.type !== MapType.BPF_MAP_TYPE_PROG_ARRAY || info.file?.ownerProgType === undefined
      ? undefined
      : typeOr(progTypes, progTypeName, info.file.ownerProgType)
  ),
  ...given("owner_jited", info.type === MapType.BPF_MAP_TYPE_PROG_ARRAY ? info.file?.ownerJited : undefined),
  ...given("frozen", info.file?.frozen === undefined ? undefined : info.file.frozen ? 1 : 0),
  ...given("btf_id", info.btfId === 0 ? undefined : info.btfId),
  ...given("pinned", pins.length === 0 ? undefined : [...pins]),
  ...pidsJson(holders)
})

/** One program. `bootTime` is when the machine was booted, seconds since 1970. */
export const progJson = (
  { info, name }: OpenProg,
  bootTime: number,
  pins: ReadonlyArray<string> = [],
  holders: ReadonlyArray<Holder> = []
): { readonly [key: string]: Json } => ({
  id: info.id,
  type: typeOr(progTypes, progTypeName, info.type),
  ...given("name", name === "" ? undefined : name),
  tag: info.tag,
  gpl_compatible: info.gplCompatible,
  ...(info.runTime === 0n ? {} : { run_time_ns: exact(info.runTime), run_cnt: exact(info.runCount) }),
  ...given("recursion_misses", info.recursionMisses === 0n ? undefined : exact(info.recursionMisses)),
  ...given("dev", info.ifindex === 0 ? undefined : { ifindex: info.ifindex }),
  ...(info.loadTime === 0n ? {} : { loaded_at: loadedAt(info.loadTime, bootTime), uid: info.createdByUid }),
  orphaned: false,
  bytes_xlated: info.xlatedLength,
  ...(info.jitedLength === 0 ? { jited: false } : { jited: true, bytes_jited: info.jitedLength }),
  ...given("bytes_memlock", memlock(info.file?.memlock)),
  ...given("map_ids", info.mapIds.length === 0 ? undefined : [...info.mapIds]),
  ...given("btf_id", info.btfId === 0 ? undefined : info.btfId),
  ...given("pinned", pins.length === 0 ? undefined : [...pins]),
  ...pidsJson(holders)
})

/** When a program was loaded, whole seconds since 1970. */
export const loadedAt = (loadTime: bigint, bootTime: number): number =>
  Math.floor(bootTime + Number(loadTime / 1_000_000n) / 1000)
