/**
 * The BTF of the running kernel and of its modules, as files.
 *
 * Source: reference page `load`, section 3.
 */
import * as Result from "effect/Result"
import * as Btf from "../../../btf/Btf.ts"
import * as Elf from "../../Elf/Elf.ts"

/** Where the kernel itself shows its types, and below it those of each module. */
export const sysfsFolder = "/sys/kernel/btf"

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

/** Parses a file that is BTF, or an ELF file with BTF in its section `.BTF`. The failure is a phrase for people. */
export const parseFile = (bytes: Uint8Array, base?: Btf.Btf): Result.Result<Btf.Btf, string> => {
  const isElf = bytes[0] === 0x7f && bytes[1] === 0x45 && bytes[2] === 0x4c && bytes[3] === 0x46
  const blob = isElf ? sectionOf(bytes) : Result.succeed(bytes)
  return Result.flatMap(
    blob,
    (blob) => Result.mapError(Btf.parse(blob, { base }), (error) => error.message)
  )
}

const sectionOf = (bytes: Uint8Array): Result.Result<Uint8Array, string> =>
  Result.flatMap(Result.mapError(Elf.parse(bytes), (error) => error.message), (file) => {
    const section = Elf.sectionByName(file, ".BTF")
    return section === undefined ? Result.fail("it has no section .BTF") : Result.succeed(section.data)
  })

/** The first type of this name and kind that the blob has itself, its base left out. */
export const findOwn = (btf: Btf.Btf, name: string, kind: number): number | undefined => {
  const found = Btf.find(btf, name, kind)
  if (found._tag === "None") return undefined
  const ids = found._tag === "One" ? [found.id] : found.ids
  return ids.find((id) => id >= btf.firstId)
}
