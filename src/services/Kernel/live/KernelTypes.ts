/**
 * The BTF of the running kernel and of its modules, as files.
 *
 * Source: reference page `load`, section 3.
 */
import * as Result from "effect/Result"
import type { Btf } from "../../../btf/Btf.ts"
import * as BtfFile from "../../../btf/BtfFile.ts"

/** Where the kernel itself shows its types, and below it those of each module. */
export const sysfsFolder = "/sys/kernel/btf"

/** The largest file of types that is read, bytes: an image of a kernel with all its debug information has less. */
export const maximumFile = 0x8000_0000 - 1

/** The largest blob of types, bytes: that of vmlinux has five million. */
export const maximumBlob = 0x1000_0000

/** The files that may have the types of vmlinux, best first: the kernel's own, then where debug packages put images. */
export const vmlinuxCandidates = (release: string): ReadonlyArray<string> => [
  `${sysfsFolder}/vmlinux`,
  `/boot/vmlinux-${release}`,
  `/lib/modules/${release}/vmlinux-${release}`,
  `/lib/modules/${release}/build/vmlinux`,
  `/usr/lib/modules/${release}/kernel/vmlinux`,
  `/usr/lib/debug/boot/vmlinux-${release}`,
  `/usr/lib/debug/boot/vmlinux-${release}.debug`,
  `/usr/lib/debug/lib/modules/${release}/vmlinux`
]

/**
 * The BTF of the file at `path`, raw or ELF. What the kernel itself shows it has validated, and is not validated again.
 * The failure is a phrase for people.
 */
export const parseFile = (path: string, bytes: Uint8Array, base?: Btf): Result.Result<Btf, string> => {
  const trusted = path.startsWith(`${sysfsFolder}/`)
  return Result.map(
    Result.mapError(BtfFile.parse(bytes, { base, trusted }), (error) => error.message),
    (file) => file.btf
  )
}
