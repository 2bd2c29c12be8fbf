/** `btf relocate`: types moved from their distilled base onto a kernel's. */
import * as Effect from "effect/Effect"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Option from "effect/Option"
import * as BtfRelocate from "../../btf/BtfRelocate.ts"
import * as BtfInput from "../BtfInput.ts"
import { reporting } from "../Failure.ts"
import * as FileOutput from "../FileOutput.ts"
import { blobDocument } from "../json/BtfDocument.ts"
import * as Output from "../Output.ts"
import { blobText } from "../text/BtfText.ts"
import { UsageError } from "../Usage.ts"
import { during, file, output, within } from "./Common.ts"

/** The command. */
export const relocate = Command.make("relocate", {
  file,
  base: Flag.String("base-btf").pipe(
    Flag.withAlias("B"),
    Flag.withMetavar("FILE"),
    Flag.withDescription(`The types to move onto: ${BtfInput.fileDescription}`)
  ),
  distilledBase: Flag.String("distilled-base").pipe(
    Flag.withMetavar("FILE"),
    Flag.withDescription("The distilled base of raw types; an ELF file has it in .BTF.base"),
    Flag.optional
  ),
  output
}, ({ base, distilledBase, file: path, output }) =>
  reporting(Effect.gen(function*() {
    const distilled = Option.isSome(distilledBase) ? yield* BtfInput.readBase(distilledBase.value) : undefined
    const { file } = yield* during(`reading ${path}`, BtfInput.read(path, { over: distilled }))
    if (distilled === undefined && file.distilled === undefined) {
      return yield* new UsageError({
        argument: path,
        detail: "has no distilled base",
        hint: "an ELF file has it in .BTF.base; name that of raw types with --distilled-base"
      })
    }
    const onto = yield* during(`reading ${base}`, BtfInput.readBase(base))
    const { btf } = yield* within(path, () => BtfRelocate.relocate(file.btf, onto))
    yield* FileOutput.writeFile(output, btf.bytes)
    yield* Output.result(() => blobDocument(output, btf), () => blobText(output, btf))
  }))).pipe(
    Command.withDescription(
      "Move types from their distilled base onto a kernel's: its types of the same names, kinds and sizes take the place\n" +
        "  of the distilled ones. Every type without a counterpart is told. The result is raw BTF split over that kernel's."
    ),
    Command.withShortDescription("Move types from their distilled base onto a kernel's"),
    Command.withExamples([
      {
        command: "effect-bpf btf relocate nf_tables.btf.o --base-btf vmlinux -o nf_tables.btf",
        description: "Onto the running kernel"
      }
    ])
  )
