/**
 * What the running kernel says of a map.
 */
import * as Effect from "effect/Effect"
import * as Arena from "../abi/Arena.ts"
import * as Attr from "../abi/Attr.ts"
import { Command } from "../abi/BpfConstants.ts"
import type { MapInfo } from "../KernelCall.ts"
import type { KernelError } from "../KernelError.ts"
import type { Sys } from "../sys/Sys.ts"
import { enter, invalid } from "./Enter.ts"
import * as FdInfo from "./FdInfo.ts"
import type { MapShape } from "./Handle.ts"

/** Bytes of a SHA-256. */
const DIGEST_SIZE = 32

/** What the kernel says of a map, through a descriptor. */
export const mapInfo = (
  sys: Sys,
  call: "MapGetInfo" | "ObjGet" | "Borrow" | "GetById",
  subject: string,
  fd: number,
  digest: boolean = false
): Effect.Effect<MapInfo, KernelError> =>
  Effect.catch(
    Effect.map(
      enter(sys, {
        call,
        subject,
        command: Command.BPF_OBJ_GET_INFO_BY_FD,
        layout: Attr.GetInfo,
        values: {
          bpf_fd: fd,
          info_len: Attr.MapInfo.size,
          info: Arena.struct(
            Attr.MapInfo,
            digest ? { hash: Arena.room(DIGEST_SIZE), hash_size: DIGEST_SIZE } : {}
          )
        }
      }),
      ({ arena }) => {
        const info = decodeMapInfo(Arena.region(arena, "info"))
        const bytes = Arena.region(arena, "info", "hash")
        // A kernel that does not know the field leaves the room as it was.
        return bytes.some((byte) => byte !== 0) ? { ...info, digest: bytes.slice() } : info
      }
    ),
    (error) => {
      // Kernels that do not know the command say what a map is in procfs.
      const info = error.errno === "EINVAL" ? FdInfo.infoOfMap(fd) : undefined
      return info === undefined ? Effect.fail(error) : Effect.succeed(info)
    }
  )

/** The largest record that room is made for, bytes: a page, as the kernel reads no more either. */
const largestRecord = 4096

/** The record of a map as the kernel writes it, so many bytes of it. */
export const mapRecord = (
  sys: Sys,
  subject: string,
  fd: number,
  length: number
): Effect.Effect<Uint8Array, KernelError> =>
  !Number.isSafeInteger(length) || length < 8 || length > largestRecord
    ? Effect.fail(invalid("MapGetInfo", subject, `a record of a map has 8 to ${largestRecord} bytes, not ${length}`))
    : Effect.map(
      enter(sys, {
        call: "MapGetInfo",
        subject,
        command: Command.BPF_OBJ_GET_INFO_BY_FD,
        layout: Attr.GetInfo,
        values: { bpf_fd: fd, info_len: length, info: Arena.room(length) }
      }),
      ({ arena }) => Arena.region(arena, "info").slice()
    )

/** Reads a `struct bpf_map_info`. */
const decodeMapInfo = (info: Uint8Array): MapInfo => {
  const { fields } = Attr.MapInfo
  const vmlinuxValueTypeId = Arena.readNumber(info, fields.btf_vmlinux_value_type_id)
  return {
    id: Arena.readNumber(info, fields.id),
    name: Arena.readName(info, fields.name),
    type: Arena.readNumber(info, fields.type),
    keySize: Arena.readNumber(info, fields.key_size),
    valueSize: Arena.readNumber(info, fields.value_size),
    maxEntries: Arena.readNumber(info, fields.max_entries),
    flags: Arena.readNumber(info, fields.map_flags),
    // The kernel does not tell where it was asked to put a map.
    numaNode: 0,
    ifindex: Arena.readNumber(info, fields.ifindex),
    extra: Arena.readBigInt(info, fields.map_extra),
    btfId: Arena.readNumber(info, fields.btf_id),
    btfKeyTypeId: Arena.readNumber(info, fields.btf_key_type_id),
    btfValueTypeId: Arena.readNumber(info, fields.btf_value_type_id),
    ...(vmlinuxValueTypeId === 0
      ? {}
      : { vmlinuxValueTypeId, vmlinuxBtfId: Arena.readNumber(info, fields.btf_vmlinux_id) })
  }
}

/** The shape of a map whose info is known. */
export const shapeOf = (info: MapInfo): MapShape => ({
  type: info.type,
  keySize: info.keySize,
  valueSize: info.valueSize
})
