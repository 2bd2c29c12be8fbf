/** `btf distill`: split types independent of their exact base. */
import * as Effect from "effect/Effect"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import type * as Result from "effect/Result"
import type { Btf } from "../../btf/Btf.ts"
import * as BtfDistill from "../../btf/BtfDistill.ts"
import * as Elf from "../../services/Elf/Elf.ts"
import * as BtfInput from "../BtfInput.ts"
import { reporting } from "../Failure.ts"
import * as FileOutput from "../FileOutput.ts"
import { blobDocument } from "../json/BtfDocument.ts"
import * as Output from "../Output.ts"
import { blobText } from "../text/BtfText.ts"
import { during, file, output, within } from "./Common.ts"

/** An ELF file with a distilled base and the types over it, as a module has them. */
const moduleFile = (base: Btf, split: Btf): Result.Result<Uint8Array, Elf.ElfError> => {
  const section = (name: string, { bytes }: Btf): Elf.ImageSection =>
    Elf.makeSection({ name, type: Elf.SHT_PROGBITS, content: { _tag: "Bytes", bytes } })
  return Elf.write({
    byteOrder: split.byteOrder,
    osAbi: 0,
    abiVersion: 0,
    type: Elf.ET_REL,
    machine: Elf.EM_BPF,
    entry: 0n,
    flags: 0,
    sections: [
      Elf.nullSection,
      section(".BTF", split),
      section(".BTF.base", base),
      Elf.makeSection({ name: ".shstrtab", type: Elf.SHT_STRTAB, content: { _tag: "Strings" } })
    ],
    sectionNames: 3
  })
}

/** The command. */
export const distill = Command.make("distill", {
  file,
  base: BtfInput.baseFlag,
  output,
  raw: Flag.Boolean("raw").pipe(
    Flag.withDescription("Write two raw files, the types into FILE and their base into FILE.base"),
    Flag.withoutNegation,
    Flag.withDefault(false)
  )
}, ({ base, file: path, output, raw }) =>
  reporting(Effect.gen(function*() {
    const { file } = yield* during(`reading ${path}`, BtfInput.read(path, { base }))
    const distilled = yield* within(path, () => BtfDistill.distill(file.btf))
    const basePath = raw ? `${output}.base` : output
    if (raw) {
      yield* FileOutput.writeFile(basePath, distilled.base.bytes)
      yield* FileOutput.writeFile(output, distilled.split.bytes)
    } else {
      yield* FileOutput.writeFile(output, yield* within(path, () => moduleFile(distilled.base, distilled.split)))
    }
    yield* Output.result(
      () => ({
        path,
        base: blobDocument(basePath, distilled.base),
        split: blobDocument(output, distilled.split)
      }),
      () => [
        ...blobText(`${basePath}${raw ? "" : " .BTF.base"}`, distilled.base),
        ...blobText(`${output}${raw ? "" : " .BTF"}`, distilled.split)
      ]
    )
  }))).pipe(
    Command.withDescription(
      "Make a module's types independent of the exact kernel that it was built for: of the base's types only name, kind\n" +
        "  and size of those stay that the module refers to, as a distilled base. The result is an ELF file with .BTF and\n" +
        "  .BTF.base, which any kernel with types of these names and sizes can take; `btf relocate` does."
    ),
    Command.withShortDescription("Make split types independent of their exact base"),
    Command.withExamples([
      {
        command: "effect-bpf btf distill nf_tables.ko --base-btf vmlinux -o nf_tables.btf.o",
        description: "The types of a module"
      }
    ])
  )
