/**
 * The flags that say what of a kernel an object is relocated with, in place of what the kernel itself shows.
 */
import * as Effect from "effect/Effect"
import * as Flag from "effect/cli/Flag"
import * as Option from "effect/Option"
import * as Configuration from "../services/Kernel/live/Configuration.ts"
import type { RelocateOptions } from "../stages/relocate/Relocate.ts"
import * as BtfInput from "./BtfInput.ts"
import { InFile } from "./Failure.ts"
import * as Packets from "./Packets.ts"
import { UsageError } from "./Usage.ts"

/** `--btf` and `--kconfig`. */
export const flags = {
  btf: Flag.String("btf").pipe(
    Flag.withMetavar("FILE"),
    Flag.withDescription(
      "Types to apply CO-RE relocations against in place of the kernel's own: raw BTF, or an ELF file with .BTF"
    ),
    Flag.optional
  ),
  kconfig: Flag.String("kconfig").pipe(
    Flag.withMetavar("FILE"),
    Flag.withDescription(
      "Kernel configuration, such as /boot/config-*, gzip or plain: options that it sets count before the kernel's own"
    ),
    Flag.optional
  )
}

/** What the flags were given. */
export interface Given {
  readonly btf: Option.Option<string>
  readonly kconfig: Option.Option<string>
}

const readConfiguration = Effect.fnUntraced(function*(path: string) {
  const bytes = yield* Packets.readBytes(path)
  return yield* Effect.mapError(
    Effect.fromResult(Configuration.unpack(bytes)),
    (cause) => new InFile({ path, cause: new UsageError({ argument: "--kconfig", detail: cause }) })
  )
})

/** Reads the files that were given. */
export const options = Effect.fnUntraced(function*({ btf, kconfig }: Given) {
  const types = Option.isSome(btf) ? (yield* BtfInput.read(btf.value)).file.btf : undefined
  const text = Option.isSome(kconfig) ? yield* readConfiguration(kconfig.value) : undefined
  return {
    ...(types === undefined ? {} : { coreTypes: types }),
    ...(text === undefined ? {} : { kconfig: text })
  } satisfies RelocateOptions
})
