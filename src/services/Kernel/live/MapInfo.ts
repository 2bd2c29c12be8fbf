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
import { enter } from "./Enter.ts"
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

/** Reads a `struct bpf_map_info`. */
export const decodeMapInfo = (info: Uint8Array): MapInfo => {
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
