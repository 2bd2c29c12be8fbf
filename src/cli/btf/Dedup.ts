/** `btf dedup`: each type once. */
import * as Effect from "effect/Effect"
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import type { Btf } from "../../btf/Btf.ts"
import * as BtfDedup from "../../btf/BtfDedup.ts"
import * as BtfEdit from "../../btf/BtfEdit.ts"
import * as BtfInput from "../BtfInput.ts"
import { InFile, reporting } from "../Failure.ts"
import * as FileOutput from "../FileOutput.ts"
import { dedupDocument } from "../json/BtfDocument.ts"
import * as Output from "../Output.ts"
import { blobText, dedupText } from "../text/BtfText.ts"
import { during, output, within } from "./Common.ts"

/** The types of all files in one blob, in their order. */
const appended = (blobs: ReadonlyArray<BtfInput.BtfInput>): Effect.Effect<Btf, InFile> => {
  const [first, ...others] = blobs
  if (first === undefined) return Effect.die("no files")
  return Effect.suspend(() => {
    if (others.length === 0) return Effect.succeed(first.file.btf)
    const editor = BtfEdit.edit(first.file.btf)
    for (const { file, path } of others) {
      const done = editor.append(file.btf)
      if (Result.isFailure(done)) return Effect.fail(new InFile({ path, cause: done.failure }))
    }
    return within(first.path, () => editor.finish())
  })
}

/** The command. */
export const dedup = Command.make("dedup", {
  files: Argument.String("file").pipe(
    Argument.withDescription(`The types, of several files one after another: ${BtfInput.fileDescription}`),
    Argument.variadic({ min: 1 })
  ),
  output,
  base: BtfInput.baseFlag
}, ({ base, files, output }) =>
  reporting(Effect.gen(function*() {
    const over = Option.isSome(base) ? yield* BtfInput.readBase(base.value) : undefined
    const inputs: Array<BtfInput.BtfInput> = []
    for (const path of files) {
      inputs.push(yield* during(`reading ${path}`, BtfInput.read(path, { over })))
    }
    const whole = yield* appended(inputs)
    const { btf, report } = yield* during("comparing types", within(files[0] ?? "", () => BtfDedup.dedup(whole)))
    yield* FileOutput.writeFile(output, btf.bytes)
    yield* Output.result(
      () => dedupDocument(files, output, btf, report),
      () => [...dedupText(btf, report), ...blobText(output, btf)]
    )
  }))).pipe(
    Command.withDescription(
      "Write BTF in which each type is once: the same types of several compilation units become one, declarations become\n" +
        "  the definitions that another unit has. Several files are put one after another first. The result is raw BTF."
    ),
    Command.withShortDescription("Make each type one, of one file or several"),
    Command.withExamples([
      { command: "effect-bpf btf dedup a.bpf.o b.bpf.o -o both.btf", description: "The types of two objects" }
    ])
  )
