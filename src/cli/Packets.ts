/**
 * What a program is run on: one packet, the packets of a capture, or a context; and what its answers are called.
 */
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import type { PlatformError } from "effect/PlatformError"
import * as Stdio from "effect/Stdio"
import * as Stream from "effect/Stream"
import { FileReadError } from "../services/Elf/ElfService.ts"
import { InFile } from "./Failure.ts"
import * as Pcap from "./Pcap.ts"

export { actionName, takesPackets } from "../services/Kernel/abi/Actions.ts"

/** The most bytes of input that are read: far more than any kernel takes, or any capture needs. */
const maximumInput = 256 * 1024 * 1024

const failure = (path: string) => (error: PlatformError): FileReadError => {
  const tag = error.reason._tag
  return tag === "NotFound" || tag === "PermissionDenied"
    ? new FileReadError({ path, reason: tag })
    : new FileReadError({ path, reason: "Io", detail: error.message })
}

const standardInput = Effect.gen(function*() {
  const stdio = yield* Stdio.Stdio
  const parts = yield* Stream.runCollect(stdio.stdin)
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0))
  let at = 0
  for (const part of parts) {
    bytes.set(part, at)
    at += part.length
  }
  return bytes
})

/** The bytes of a file; `-` is standard input. */
export const readBytes = Effect.fnUntraced(function*(path: string) {
  if (path === "-") return yield* Effect.mapError(standardInput, failure("standard input"))
  const fileSystem = yield* FileSystem.FileSystem
  const { size, type } = yield* Effect.mapError(fileSystem.stat(path), failure(path))
  if (type === "Directory") return yield* new FileReadError({ path, reason: "NotAFile", detail: type })
  if (Number(size) > maximumInput) {
    return yield* new FileReadError({ path, reason: "Io", detail: `${String(size)} bytes are too many for input` })
  }
  return yield* Effect.mapError(fileSystem.readFile(path), failure(path))
})

/** Writes a file. */
export const writeBytes = Effect.fnUntraced(function*(path: string, bytes: Uint8Array) {
  const fileSystem = yield* FileSystem.FileSystem
  yield* Effect.mapError(fileSystem.writeFile(path, bytes), (error) => new InFile({ path, cause: error }))
})

/** What a program is run on. */
export type Input =
  | { readonly _tag: "Nothing" }
  | { readonly _tag: "Packet"; readonly bytes: Uint8Array }
  | { readonly _tag: "Capture"; readonly capture: Pcap.Capture }

/** The input of a file: the packets of a capture where it is one, else its bytes as one packet. */
export const readInput = Effect.fnUntraced(function*(path: string) {
  const bytes = yield* readBytes(path)
  if (!Pcap.isCapture(bytes)) return { _tag: "Packet", bytes } satisfies Input
  const capture = yield* Effect.mapError(Effect.fromResult(Pcap.parse(bytes)), (cause) => new InFile({ path, cause }))
  return { _tag: "Capture", capture } satisfies Input
})
