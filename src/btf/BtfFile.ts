/**
 * The BTF of a file: a raw blob, or the sections `.BTF`, `.BTF.base` and `.BTF.ext` of an ELF file.
 *
 * ```ts
 * const kernel = BtfFile.parse(readFileSync("/sys/kernel/btf/vmlinux"))
 * const module = BtfFile.parse(readFileSync("nf_tables.ko"), { base: kernel.btf })
 * ```
 *
 * What a module file means depends on its sections. With a distilled base in `.BTF.base` its types are split over that
 * one, and are moved onto the base that the caller gives; without, they are split over the very kernel that the module
 * was built for, which the caller has to give.
 *
 * Source: reference page `btf-format`, section 8.
 */
import type * as Result from "effect/Result"
import { attempt } from "../internal/attempt.ts"
import type { Section32 } from "../services/Elf/Elf32.ts"
import { isElf32, sectionsNamed } from "../services/Elf/Elf32.ts"
import * as Elf from "../services/Elf/Elf.ts"
import type { BtfError } from "./BtfError.ts"
import { fail, inSection, isBtfError } from "./BtfError.ts"
import * as BtfExt from "./BtfExt.ts"
import type { Btf } from "./BtfModel.ts"
import { byteOrderOfMagic, parse as parseBlob } from "./BtfParse.ts"
import { BtfRelocateError, relocate } from "./BtfRelocate.ts"

/** The BTF of a file. */
export interface BtfFile {
  readonly format: "raw" | "elf"
  readonly btf: Btf
  /**
   * The distilled base of the file's `.BTF.base`. It is the base of `btf`, unless the caller gave one, onto which `btf`
   * was then moved.
   */
  readonly distilled: Btf | undefined
  /** The file's `.BTF.ext`, if it was asked for and is there. */
  readonly ext: BtfExt.BtfExt | undefined
}

/** Options of `parse`. */
export interface BtfFileOptions {
  /** What the types are split over; for a file with a distilled base, what they are moved onto. May itself be split. */
  readonly base?: Btf | undefined
  /** Bytes of a pointer. Without it an ELF file's class decides. */
  readonly pointerSize?: 4 | 8 | undefined
  /** Whether `.BTF.ext` is wanted: a malformed one is an error then, and otherwise not looked at. */
  readonly ext?: boolean | undefined
  /** As for `Btf.parse`: no validation of a raw blob that the running kernel itself shows. ELF files are never trusted. */
  readonly trusted?: boolean | undefined
}

/** What can be wrong with a file: the file, the BTF in it, or how it fits the base. */
export type BtfFileError = BtfError | Elf.ElfError | BtfRelocateError

/**
 * Parses a file's bytes, which must not change afterwards: raw BTF of either byte order, else ELF of either class and
 * byte order. As in libbpf, a file that starts as BTF is BTF, and its errors are final.
 *
 * - `BtfError` `NotBtf` for bytes that are neither, `NoBtf` for an ELF file without `.BTF`, `BadElfSection` for a section
 *   that holds no data or compressed data; those of `Btf.parse`, with the section's name in `section`
 * - `ElfError` for a malformed ELF file
 * - `BtfRelocateError` where the types do not fit the base given
 */
export const parse = (bytes: Uint8Array, options: BtfFileOptions = {}): Result.Result<BtfFile, BtfFileError> =>
  attempt(isFileError, () => parseFile(bytes, options))

const isFileError = (thrown: unknown): thrown is BtfFileError =>
  isBtfError(thrown) || thrown instanceof Elf.ElfError || thrown instanceof BtfRelocateError

const parseFile = (bytes: Uint8Array, options: BtfFileOptions): BtfFile => {
  const { base, pointerSize } = options
  if (bytes.length >= 2 && byteOrderOfMagic(new DataView(bytes.buffer, bytes.byteOffset, 2)) !== undefined) {
    const btf = valueOf(parseBlob(bytes, { base, pointerSize, trusted: options.trusted }))
    return { format: "raw", btf, distilled: undefined, ext: undefined }
  }
  if (!(bytes[0] === 0x7f && bytes[1] === 0x45 && bytes[2] === 0x4c && bytes[3] === 0x46)) {
    fail("NotBtf", "the bytes are neither BTF nor an ELF file", { offset: 0 })
  }
  return parseElf(elfSections(bytes), base, pointerSize ?? (isElf32(bytes) ? 4 : 8), options.ext === true)
}

const valueOf = <A>(result: Result.Result<A, BtfFileError>): A => {
  if (result._tag === "Failure") throw result.failure
  return result.success
}

const sectionNames = [".BTF", ".BTF.base", ".BTF.ext"] as const

type SectionName = typeof sectionNames[number]

/** The data of a file's sections of BTF. */
type Sections = { readonly [Name in SectionName]: Uint8Array | undefined }

/** The first section of each name, which must hold plain data. */
const elfSections = (bytes: Uint8Array): Sections => {
  const sections: ReadonlyArray<Section32> = isElf32(bytes)
    ? valueOf(sectionsNamed(bytes, sectionNames))
    : valueOf(Elf.parse(bytes)).sections
  const dataOf = (name: SectionName): Uint8Array | undefined => {
    const section = sections.find((section) => section.name === name)
    if (section === undefined) return undefined
    if (section.type !== Elf.SHT_PROGBITS) {
      return fail("BadElfSection", "the section holds no program data", {
        section: name,
        hint: "a file of debug information alone has the section's name and not its data"
      })
    }
    if ((section.flags & Elf.SHF_COMPRESSED) !== 0n) {
      return fail("BadElfSection", "the section is compressed", {
        section: name,
        hint: "objcopy --decompress-debug-sections writes it plainly"
      })
    }
    return section.data
  }
  return { ".BTF": dataOf(".BTF"), ".BTF.base": dataOf(".BTF.base"), ".BTF.ext": dataOf(".BTF.ext") }
}

const parseElf = (
  sections: Sections,
  base: Btf | undefined,
  pointerSize: 4 | 8,
  wantsExt: boolean
): BtfFile => {
  const types = sections[".BTF"] ??
    fail("NoBtf", "the ELF file has no section .BTF", {
      hint: "compile with -g for the BPF target; for a kernel or module set CONFIG_DEBUG_INFO_BTF"
    })
  const distilledBytes = sections[".BTF.base"]
  const distilled = distilledBytes === undefined
    ? undefined
    : within(".BTF.base", () => valueOf(parseBlob(distilledBytes, { pointerSize })))
  const own = within(".BTF", () => valueOf(parseBlob(types, { base: distilled ?? base, pointerSize })))
  const extBytes = wantsExt ? sections[".BTF.ext"] : undefined
  const ext = extBytes === undefined ? undefined : within(".BTF.ext", () => valueOf(BtfExt.parse(extBytes, own)))
  if (distilled === undefined || base === undefined) return { format: "elf", btf: own, distilled, ext }
  const moved = valueOf(relocate(own, base, { ext }))
  return { format: "elf", btf: moved.btf, distilled, ext: moved.ext }
}

/** Names the section in the errors of what is parsed from it. */
const within = <A>(section: SectionName, body: () => A): A => {
  try {
    return body()
  } catch (thrown) {
    if (isBtfError(thrown)) throw inSection(thrown, section)
    throw thrown
  }
}
